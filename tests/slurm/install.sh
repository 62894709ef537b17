#!/usr/bin/env bash
# Install SLURM with accounting from Debian's packages, for the tests in this folder. As root.
# The packages start no service: one_machine.py starts and stops what the tests need.
set -euo pipefail

packages=(
  slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge
  slurmdbd slurm-wlm-mysql-plugin mariadb-server
)
# `type` fails if one of them is missing; `command -v` succeeds if one of them is there.
if type -P slurmctld slurmd slurmdbd munged mariadbd sacct > /dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "SLURM is not installed; this script needs root and Debian's apt-get" >&2
  exit 1
fi

# Debian asks this file before a package starts its service; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod 755 $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" > /dev/null
