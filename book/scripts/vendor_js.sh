#!/usr/bin/env bash
# Refresh the JavaScript that the built book loads from itself instead of from CDNs (needs npm).
# New versions: change them here and in book/_vendor/_static/offline/LICENSES.md, then run `make test`.
set -euo pipefail
cd "$(dirname "$0")/../_vendor/_static/offline"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
npm install --prefix "$tmp" --ignore-scripts --no-audit --no-fund --silent \
    @jupyter-widgets/html-manager@1.0.15 requirejs@2.3.8 mathjax@3.2.2
modules=$tmp/node_modules

rm -rf requirejs html-manager mathjax
mkdir -p requirejs html-manager mathjax/{output/chtml,input/tex}
cp "$modules"/requirejs/require.js requirejs/
cp "$modules"/@jupyter-widgets/html-manager/dist/{embed-amd.js,*.woff2} html-manager/
cp "$modules"/mathjax/{LICENSE,es5/tex-mml-chtml.js} mathjax/
cp -r "$modules"/mathjax/es5/output/chtml/fonts mathjax/output/chtml/
cp -r "$modules"/mathjax/es5/input/tex/extensions mathjax/input/tex/
