#!/usr/bin/env bash
# Refresh the JavaScript that the built book loads from itself instead of from CDNs, and axe-core, which only the tests
# load (needs npm). New versions: change them here, in book/_vendor/_static/offline/LICENSES.md and the checksum below, then
# run `make test`.
set -euo pipefail
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
npm install --prefix "$tmp" --ignore-scripts --no-audit --no-fund --silent \
    @jupyter-widgets/html-manager@1.0.15 requirejs@2.3.8 mathjax@3.2.2 axe-core@4.14.1
modules=$tmp/node_modules

axe=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
echo "$axe  $modules/axe-core/axe.min.js" | sha256sum --check --quiet
mkdir -p tests/vendor
cp "$modules"/axe-core/axe.min.js tests/vendor/
cp "$modules"/axe-core/LICENSE tests/vendor/LICENSE-axe-core

cd book/_vendor/_static/offline
rm -rf requirejs html-manager mathjax
mkdir -p requirejs html-manager mathjax/{a11y,output/chtml,input/tex}
cp "$modules"/requirejs/require.js requirejs/
cp "$modules"/@jupyter-widgets/html-manager/dist/{embed-amd.js,*.woff2} html-manager/
cp "$modules"/mathjax/{LICENSE,es5/startup.js,es5/core.js} mathjax/
for part in a11y/assistive-mml.js input/tex.js output/chtml.js; do cp "$modules/mathjax/es5/$part" "mathjax/$part"; done
cp -r "$modules"/mathjax/es5/output/chtml/fonts mathjax/output/chtml/
cp -r "$modules"/mathjax/es5/input/tex/extensions mathjax/input/tex/
