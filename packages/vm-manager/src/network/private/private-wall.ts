/**
 * What becomes of a frame in a private network. Only what has the addresses that the state placed on the card passes, to one card
 * of the network: IPv4, and IPv6 where the network has it. The switch itself says who has which address (ARP, neighbour discovery),
 * gives addresses (DHCP, router advertisements) and answers names (DNS): no frame of a guest about that reaches another one, so none
 * can take over a neighbour's place.
 */
import { arpAnswer } from "../arp.ts";
import { answerDhcp, isDhcpRequest } from "../dhcp.ts";
import { gatewayMac } from "../gateway-mac.ts";
import { type CardPacket, type Ipv6Packet, readIpv6 } from "../ipv6-packet.ts";
import { answerQuestion, isNameQuestion } from "../name-question.ts";
import { icmpv6Types, neighbourAdvertisement, routerAdvertisement, targetOf, unspecified } from "../neighbours.ts";
import { type ArpPacket, type Ipv4Packet, macNumberAt, protocols, readPacket } from "../packet.ts";
import { answerNames, topDomain } from "./names.ts";
import type { NetworkHost, NetworkTable } from "./network-table.ts";

/** Why a frame goes no further. */
export const dropReasons = [
  /** Neither ARP nor IP, of a version that the network has, or cut; with IPv6 also what has further headers. */
  "not_understood",
  "source_mac",
  "source_address",
  /** To several at once. */
  "group",
  /** Who says who is where, or who routes, with IPv6: that is up to the switch. */
  "neighbour",
  "nobody_there",
  /** The state does not place the card on the node that sends for it, in the epoch in which it does. */
  "not_placed",
  /** The other side takes less than comes. */
  "full",
  /** The node of the other card is not connected. */
  "no_lane",
  /** No rule of the security groups of the card that sends it allows it. */
  "no_rule_out",
  /** No rule of those of the card that it is for. */
  "no_rule_in",
  /** A card with security groups has as many connections as it may. */
  "connections_full",
] as const;
export type DropReason = (typeof dropReasons)[number];

export type Verdict =
  | { readonly type: "answer"; readonly frame: Buffer }
  | { readonly type: "pass"; readonly from: NetworkHost; readonly to: NetworkHost; readonly packet: CardPacket }
  /** For a connection that the switch itself has opened into the guest. */
  | { readonly type: "own" }
  | { readonly type: "drop"; readonly reason: DropReason };

/** Of a guest with the card `own`. */
export function verdictOnGuest(frame: Buffer, own: NetworkHost, table: NetworkTable): Verdict {
  const packet = readPacket(frame) ?? readIpv6(frame);
  if (packet === undefined) return drop("not_understood");
  if (table.hostOf(macNumberAt(frame, 6)) !== own) return drop("source_mac");
  if (packet.type === "ipv6") return verdictOnGuest6(frame, packet, own, table);
  if (packet.type === "arp") return verdictOnArp(packet, own, table);
  if (isDhcpRequest(frame)) return answered(answerDhcp(frame, own.mac, leaseOf(own, table)));
  if (packet.source !== own.address) return drop("source_address");
  const { server } = table.config;
  if (packet.destination !== server) return passed(frame, { from: own, packet }, table);
  if (packet.protocol === protocols.tcp) return { type: "own" };
  if (!isNameQuestion(packet, server)) return drop("nobody_there");
  return answered(answerQuestion(frame, packet, own.mac, (message) => answerNames(message, table)));
}

/** Of another node, in the name of a card that has to be there, in that epoch. */
export function verdictOnNode(
  frame: Buffer,
  from: { readonly node: number; readonly epoch: number },
  table: NetworkTable,
): Verdict {
  const packet = readPacket(frame) ?? readIpv6(frame);
  if (packet === undefined || packet.type === "arp") return drop("not_understood");
  const source = table.hostOf(macNumberAt(frame, 6));
  if (source === undefined) return drop("source_mac");
  if (source.node !== from.node || source.epoch !== from.epoch) return drop("not_placed");
  if (packet.type === "ipv6") return passed6(frame, packet, source, table);
  if (packet.source !== source.address) return drop("source_address");
  return passed(frame, { from: source, packet }, table);
}

function verdictOnGuest6(frame: Buffer, packet: Ipv6Packet, own: NetworkHost, table: NetworkTable): Verdict {
  const { network6 } = table.config;
  const { icmpType, source } = packet;
  if (network6 === undefined) return drop("not_understood");
  const asked = { mac: own.mac, address: source === unspecified ? allNodes : source };
  if (icmpType === icmpv6Types.routerSolicitation) {
    return answered(routerAdvertisement(network6, asked));
  }
  if (icmpType !== icmpv6Types.neighbourSolicitation) return passed6(frame, packet, own, table);
  const target = targetOf(frame);
  // While it has no address, it asks whether somebody else has the one that it is to get.
  if (source === unspecified || target === own.address6) return drop("group");
  const found = target === undefined ? undefined : table.hostAt6(target);
  if (target === undefined || found === undefined) return drop("nobody_there");
  return answered(neighbourAdvertisement({ mac: found.mac, target }, asked));
}

const allNodes = `ff02${"0".repeat(27)}1`;

/** Of IPv6, that is for a card. */
function passed6(frame: Buffer, packet: Ipv6Packet, from: NetworkHost, table: NetworkTable): Verdict {
  const { icmpType = 0 } = packet;
  const { listenerQuery, listenerDone, listenerReports, routerSolicitation, redirect } = icmpv6Types;
  if (icmpType >= routerSolicitation && icmpType <= redirect) return drop("neighbour");
  const isAboutGroups = (icmpType >= listenerQuery && icmpType <= listenerDone) || icmpType === listenerReports;
  if (isAboutGroups || ((frame[0] ?? 0) & 1) === 1) return drop("group");
  if (from.address6 === undefined || packet.source !== from.address6) return drop("source_address");
  const to = table.hostOf(macNumberAt(frame, 0));
  if (to?.address6 === undefined || packet.destination !== to.address6) return drop("nobody_there");
  return { type: "pass", from, to, packet: { ...packet, source: from.address, destination: to.address } };
}

function passed(
  frame: Buffer,
  sent: { readonly from: NetworkHost; readonly packet: Ipv4Packet },
  table: NetworkTable,
): Verdict {
  if (((frame[0] ?? 0) & 1) === 1) return drop("group");
  const to = table.hostOf(macNumberAt(frame, 0));
  return to === undefined ? drop("nobody_there") : { type: "pass", to, ...sent };
}

function verdictOnArp({ senderMac, sender, target, asks }: ArpPacket, own: NetworkHost, table: NetworkTable): Verdict {
  if (senderMac !== own.mac) return drop("source_mac");
  // None, while it asks whether somebody else has its address (RFC 5227).
  if (sender !== own.address && sender !== 0) return drop("source_address");
  if (!asks || target === own.address) return drop("group");
  const mac = target === table.config.server ? gatewayMac : table.hostAt(target)?.mac;
  return mac === undefined
    ? drop("nobody_there")
    : answered(arpAnswer({ mac, address: target }, { ...own, address: sender }));
}

function leaseOf({ address: guest }: NetworkHost, { config }: NetworkTable) {
  const { server, range, name } = config;
  return { guest, server, mask: range.mask, resolver: server, domain: `${name}.${topDomain}` };
}

function answered(frame: Buffer | undefined): Verdict {
  return frame === undefined ? drop("not_understood") : { type: "answer", frame };
}

function drop(reason: DropReason): Verdict {
  return { type: "drop", reason };
}
