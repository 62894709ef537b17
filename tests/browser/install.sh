#!/usr/bin/env bash
# Install Chromium from Debian's packages, for the tests in this folder. As root.
set -euo pipefail

if command -v chromium chromium-browser google-chrome > /dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "no Chromium is installed; this script needs root and Debian's apt-get" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends chromium > /dev/null
