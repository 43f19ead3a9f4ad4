/**
 * Taps: network interfaces of this host whose other end is a descriptor, each plugged in a Linux bridge. Node cannot make them, which
 * takes `ioctl`, so perl does, in the process that is to have them, and replaces itself by the next program. They are not persistent:
 * the kernel removes each when that process ends, whatever ends it.
 */
import type { Command, Tap } from "../driver.ts";

/**
 * Arguments: for each tap its descriptor, its name, the MAC address of its card and its bridge; `--`, the program and its arguments.
 * The numbers are those of linux/if_tun.h and linux/sockios.h, the request is a `struct ifreq`. A bridge without an address of its
 * own takes the lowest of its ports, so taps have high ones, and it takes the smallest MTU of its ports, so taps have its own.
 */
const script = `
use strict;
use POSIX ();
while ($ARGV[0] ne "--") {
  my ($descriptor, $name, $mac, $bridge) = splice @ARGV, 0, 4;
  my $fail = sub { die "no tap in the bridge $bridge: $_[0]: $!\n" };
  my $request = sub { pack "a16 a24", @_ };
  socket my $control, 2, 2, 0 or $fail->("no socket");
  my $mtu = $request->($bridge, "");
  ioctl $control, 0x8921, $mtu or $fail->("the bridge is not there");
  sysopen my $tap, "/dev/net/tun", 2 or $fail->("/dev/net/tun cannot be opened");
  ioctl $tap, 0x400454ca, $request->($name, pack "S", 0x5002) or $fail->("it cannot be made");
  ioctl $control, 0x8924, $request->($name, pack "S H12", 1, "fe" . substr $mac, 2) or $fail->("it takes no address");
  ioctl $control, 0x8922, $request->($name, substr $mtu, 16) or $fail->("it does not take the MTU of the bridge");
  my $index = $request->($name, "");
  ioctl $control, 0x8933, $index or $fail->("it is not found");
  ioctl $control, 0x89a2, $request->($bridge, substr $index, 16) or $fail->("it cannot be plugged in");
  ioctl $control, 0x8914, $request->($name, pack "S", 0x1043) or $fail->("it does not come up");
  defined POSIX::dup2(fileno $tap, $descriptor) or $fail->("it cannot be passed on");
}
shift;
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\n";
`;

/** The command that makes the taps and becomes `command`. `perl`: its path. */
export function tapCommand(perl: string, command: Command, taps: readonly Tap[]): Command {
  const given = taps.flatMap(({ descriptor, name, mac, bridge }) => [
    ...[`${descriptor}`, name, mac.replaceAll(":", ""), bridge],
  ]);
  return { program: perl, arguments: ["-e", script, ...given, "--", command.program, ...command.arguments] };
}
