/** One port number for TCP and for UDP, also when the system shall choose it. */
import { errorCodeOf } from "@blixard/common";

/** How many port numbers are tried that TCP has free and UDP has not. */
const attemptsMax = 16;

export interface SharedPort<Tcp, Udp> {
  readonly port: number;
  readonly tcp: Tcp;
  readonly udp: Udp;
}

/**
 * Binds TCP first, because TCP says which port it got, and then UDP on the same number. With port 0, a number that is
 * taken for UDP is given back and another one is tried. A port that the caller names is tried once.
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
