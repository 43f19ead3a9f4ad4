/** Says who has an address (ARP, RFC 826). */
import { gatewayMac } from "./gateway-mac.ts";
import { hexOf } from "./ipv4-frame.ts";
import { etherHeaderBytes } from "./packet.ts";

interface ArpEnd {
  readonly mac: string;
  readonly address: number;
}

/** The frame that tells `asked` where `found` is. */
export function arpAnswer(found: ArpEnd, asked: ArpEnd): Buffer {
  const frame = Buffer.alloc(etherHeaderBytes + 28);
  frame.write(hexOf(asked.mac), 0, "hex");
  frame.write(hexOf(gatewayMac), 6, "hex");
  frame.writeUInt16BE(0x0806, 12);
  frame.write("0001080006040002", etherHeaderBytes, "hex");
  const ends: readonly (readonly [ArpEnd, number])[] = [
    [found, etherHeaderBytes + 8],
    [asked, etherHeaderBytes + 18],
  ];
  for (const [{ mac, address }, at] of ends) {
    frame.write(hexOf(mac), at, "hex");
    frame.writeUInt32BE(address, at + 6);
  }
  return frame;
}
