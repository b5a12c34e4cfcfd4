#!/usr/bin/env bash
# Refresh the JavaScript that the built book loads from itself instead of from CDNs, and axe-core, which only the tests
# load (needs npm). New versions: change them here and in book/_vendor/_static/offline/LICENSES.md, run this, look at the
# files, write their checksums (sha256sum) to book/scripts/vendor_js.sha256, and run `make test`.
set -euo pipefail
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
npm install --prefix "$tmp" --ignore-scripts --no-audit --no-fund --silent \
    katex@0.19.1 axe-core@4.14.1
modules=$tmp/node_modules

mkdir -p tests/vendor
cp "$modules"/axe-core/axe.min.js tests/vendor/
cp "$modules"/axe-core/LICENSE tests/vendor/LICENSE-axe-core

cd book/_vendor/_static/offline
rm -rf katex
mkdir -p katex/fonts
cp "$modules"/katex/{LICENSE,dist/katex.min.js,dist/katex.min.css,dist/contrib/auto-render.min.js} katex/
cp "$modules"/katex/dist/fonts/*.woff2 katex/fonts/

cd - > /dev/null
sha256sum --check --quiet book/scripts/vendor_js.sha256
