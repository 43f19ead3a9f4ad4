/** Questions about names (DNS) that a guest sends in datagrams to the resolver that DHCP told it of. */
import { gatewayMac } from "./gateway-mac.ts";
import { udpFrame, udpHeaderBytes } from "./ipv4-frame.ts";
import { type Ipv4Packet, protocols } from "./packet.ts";

const namesPort = 53;

export function isNameQuestion({ destination, protocol, ports }: Ipv4Packet, resolver: number): boolean {
  return destination === resolver && protocol === protocols.udp && ports?.destination === namesPort;
}

/** The frame that answers the card `mac`; undefined when `answer` knows nothing. */
export function answerQuestion(
  frame: Buffer,
  { source, destination, ports, contentOffset }: Ipv4Packet,
  mac: string,
  answer: (message: Buffer) => Buffer | undefined,
): Buffer | undefined {
  const said = answer(frame.subarray(contentOffset + udpHeaderBytes));
  if (said === undefined || ports === undefined) return undefined;
  const from = { mac: gatewayMac, address: destination, port: namesPort };
  return udpFrame(from, { mac, address: source, port: ports.source }, said);
}
