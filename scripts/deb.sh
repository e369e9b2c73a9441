#!/usr/bin/env bash
# Makes the Debian package of the extension for the server of PG_CONFIG, in target/deb/; prints its path last.
#   scripts/deb.sh            builds in release mode
#   scripts/deb.sh --staged   takes the build that is in target/package
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"
umask 022

major=$(debian_major)
[[ $major ]] || die "a Debian package is for a server of Debian's: $PG_CONFIG is none"
command -v dpkg-deb >/dev/null || die 'dpkg-deb is missing'
compression=(-Zxz)
if [[ ${1:-} == --staged ]]; then
    compression=(-Zgzip -z1) # quick: a test looks at it and throws it away
else
    ensure_packages build
    ensure_rust
    ensure_cargo_pgrx
    stage_build --release
fi

package=postgresql-$major-pg-workflow
version=$(cargo_toml version)-1
maintainer='pg_workflow contributors <contributors@pg-workflow.invalid>'
# Times in the package are those of its source.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

root=target/deb/$package
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/usr/share/doc/$package"
cp -R target/package/usr "$root/"
library=$root/usr/lib/postgresql/$major/lib/pg_workflow.so
[[ -f $library ]] || die "target/package has no build for version $major"
strip --strip-unneeded --remove-section=.comment "$library"
find "$root" -type d -exec chmod 755 {} +
find "$root" -type f -exec chmod 644 {} +

doc=$root/usr/share/doc/$package
{
    printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' 'Upstream-Name: pg_workflow' '' \
        'Files: *' 'Copyright: 2026, pg_workflow contributors' 'License: PostgreSQL'
    sed '1,/^Permission/{/^Permission/!d}' LICENSE | sed -e 's/^$/./' -e 's/^/ /'
} >"$doc/copyright"
printf '%s\n' "$package ($version) unstable; urgency=medium" '' '  * What is new is in changelog.gz.' '' \
    " -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"

# Which packages the library's own needs come from. dpkg-shlibdeps wants to stand beside a debian/control.
needs=$(
    mkdir -p target/deb/needs/debian
    printf '%s\n' "Source: $package" '' "Package: $package" 'Architecture: any' >target/deb/needs/debian/control
    cd target/deb/needs
    dpkg-shlibdeps -O "../../../$library" 2>/dev/null | sed 's/^shlibs:Depends=//'
)
cat >"$root/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Installed-Size: $(du -ks --apparent-size "$root/usr" | cut -f 1)
Depends: postgresql-$major, $needs
Section: database
Priority: optional
Description: durable workflows inside PostgreSQL $major
 Workflows are ordinary functions, which background workers of the server run
 step by step, through crashes, restarts and failovers, for seconds or months.
 The effects of a step and its checkpoint are one transaction.
 .
 The library has to be in shared_preload_libraries.
CONTROL
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)

file=target/deb/${package}_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group "${compression[@]}" --build "$root" "$file" >/dev/null
say "$file"
