#!/bin/bash
# kernel-client.sh PORT EXPORT [CONNECTIONS [TLS-FOLDER]]
#
# The Linux kernel as the NBD client: boots Debian's kernel under qemu (software emulation, no KVM needed), attaches
# EXPORT of the server at 127.0.0.1:PORT with nbd-client, makes an ext4 on it, writes 20 files, trims, detaches,
# attaches again, runs e2fsck, and compares checksums. Prints GUEST-OK and exits 0, or GUEST-FAIL STEP and exits 1.
# With TLS-FOLDER, which has ca-cert.pem, client-cert.pem and client-key.pem, nbd-client puts its own TLS, in user
# space, between the kernel and the server, whose certificate must be that of localhost.
#
# Needs: qemu-system-x86 nbd-client e2fsprogs busybox-static cpio; the kernel package is downloaded once into
# $KERNEL_DIR (default ~/.cache/filterd-guest-kernel) and unpacked there, never installed.
set -euo pipefail
port=${1:?usage: kernel-client.sh PORT EXPORT [CONNECTIONS]} export=${2-} connections=${3:-1} tls=${4-}
kernel_dir=${KERNEL_DIR:-$HOME/.cache/filterd-guest-kernel}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
root=$work/root

if ! ls "$kernel_dir"/boot/vmlinuz-* >/dev/null 2>&1; then
  package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  mkdir -p "$kernel_dir" "$work/deb"
  (cd "$work/deb" && apt-get download -q "$package" >/dev/null 2>&1 && dpkg -x ./*.deb "$kernel_dir")
fi
version=$(ls "$kernel_dir/lib/modules"); modules=$kernel_dir/lib/modules/$version/kernel

mkdir -p "$root"/{bin,sbin,lib,lib64,proc,sys,dev,mnt,m}
cp /usr/bin/busybox "$root/bin/"
for applet in sh mount umount insmod ip sleep cat echo dd md5sum sync poweroff dmesg blockdev fstrim grep tail; do
  ln -s busybox "$root/bin/$applet"
done
for program in /usr/sbin/nbd-client /usr/sbin/mkfs.ext4 /usr/sbin/e2fsck; do
  cp "$program" "$root/sbin/"
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$library")"; cp -n "$library" "$root$library"
  done
done
tls_options=
if [ -n "$tls" ]; then
  mkdir "$root/tls"
  cp "$tls"/{ca-cert,client-cert,client-key}.pem "$root/tls/"
  tls_options="-enable-tls -certfile /tls/client-cert.pem -keyfile /tls/client-key.pem -cacertfile /tls/ca-cert.pem
               -tlshostname localhost"
fi
load="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net
      crc32c_generic crc16 mbcache jbd2 ext4 nbd"
for name in $load; do find "$modules" -name "$name.ko" -exec cp {} "$root/m/" \;; done

cat > "$root/init" <<INIT
#!/bin/sh
export PATH=/bin:/sbin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for k in $(echo $load); do insmod /m/\$k.ko; done
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
fail() { echo "GUEST-FAIL \$1"; dmesg | grep -iE 'nbd|ext4|I/O' | tail -20; poweroff -f; }
attach() { nbd-client 10.0.2.2 $port /dev/nbd0 -N "$export" -C $connections -b 4096 $(echo $tls_options) || fail "\$1"; }
attach attach
q=/sys/block/nbd0/queue
echo "GUEST size=\$(blockdev --getsize64 /dev/nbd0) discard=\$(cat \$q/discard_max_bytes) fua=\$(cat \$q/fua) zeroes=\$(cat \$q/write_zeroes_max_bytes)"
mkfs.ext4 -q -F /dev/nbd0 || fail mkfs
mount -t ext4 /dev/nbd0 /mnt || fail mount
i=0; while [ \$i -lt 20 ]; do dd if=/dev/urandom of=/mnt/f\$i bs=64k count=16 2>/dev/null; i=\$((i+1)); done
md5sum /mnt/f* > /sums; sync; fstrim -v /mnt || echo "GUEST no trim"
umount /mnt || fail umount
nbd-client -d /dev/nbd0; sleep 1
attach reattach
e2fsck -fn /dev/nbd0 || fail fsck
mount -t ext4 /dev/nbd0 /mnt || fail remount
md5sum -c /sums >/dev/null && echo "GUEST-OK 20 files" || fail checksums
umount /mnt; nbd-client -d /dev/nbd0
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) > "$work/initrd.gz"
timeout 300 qemu-system-x86_64 -M q35 -m 512 -accel tcg -nographic -no-reboot \
  -kernel "$kernel_dir/boot/vmlinuz-$version" -initrd "$work/initrd.gz" -append "console=ttyS0 quiet panic=-1" \
  -netdev user,id=n -device virtio-net-pci,netdev=n </dev/null 2>&1 | tr -d '\r' > "$work/console" || true
grep -aE 'GUEST|trimmed|e2fsck|/dev/nbd0:|nbd|panic' "$work/console" || true
grep -aq 'GUEST-OK' "$work/console"
