/** One port number for TCP and for UDP, also when the system shall choose it. */
import { errorCodeOf } from "@blixard/common";

/** Ports that TCP offered and UDP did not have, before giving up. */
const attemptsMax = 16;

export interface SharedPort<Tcp, Udp> {
  readonly port: number;
  readonly tcp: Tcp;
  readonly udp: Udp;
}

/**
 * Binds TCP first, because it tells which port it got, then UDP on the same number. With port 0 a number that UDP does
 * not have is given back and another is tried; a port that was asked for is tried once.
 * @throws PORT_IN_USE and whatever else the two throw
 */
export async function bindSharedPort<Tcp extends { readonly port: number; close(): Promise<void> }, Udp>(
  port: number,
  bindTcp: (port: number) => Promise<Tcp>,
  bindUdp: (port: number) => Promise<Udp>,
): Promise<SharedPort<Tcp, Udp>> {
  for (let attempt = 1; ; attempt++) {
    const tcp = await bindTcp(port);
    try {
      return { port: tcp.port, tcp, udp: await bindUdp(tcp.port) };
    } catch (error) {
      await tcp.close();
      if (port !== 0 || attempt >= attemptsMax || errorCodeOf(error) !== "PORT_IN_USE") throw error;
    }
  }
}
