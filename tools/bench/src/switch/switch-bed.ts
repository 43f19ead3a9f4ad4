/** Two switches as two nodes have them, with two network cards at each, all in one private network. */
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIpv4, parseIpv4Range, sleep } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { carrierProgram } from "@blixard/server";
import { TestCard, TestSwitch } from "@blixard/vm-manager/testing";

export interface BedCard {
  readonly card: TestCard;
  readonly mac: string;
  readonly address: number;
}

const networkId = randomUUID();
const range = parseIpv4Range("10.1.0.0/24");
const headerBytes = 42;

export class SwitchBed implements AsyncDisposable {
  /** By node: 1, 1, 2, 2. */
  readonly cards: readonly BedCard[];
  readonly switches: readonly TestSwitch[];
  readonly #directory: string;

  private constructor(directory: string, switches: readonly TestSwitch[], cards: readonly BedCard[]) {
    this.#directory = directory;
    this.switches = switches;
    this.cards = cards;
  }

  static async open(): Promise<SwitchBed> {
    const directory = await mkdtemp(join(tmpdir(), "blixard-switch-"));
    const places = [1, 1, 2, 2].map((node, at) => ({
      ...{ node, epoch: 1, name: `vm-${at}`, mac: `02:00:00:00:01:0${at}`, address: parseIpv4(`10.1.0.1${at}`) },
    }));
    const network = { networkId, name: "lan", range, server: range.base + 1, hosts: places };
    const carrier = carrierProgram({ bind: "127.0.0.1:0", relay: false, discovery: false });
    const switches: TestSwitch[] = [];
    const cards: BedCard[] = [];
    for (const nodeId of [1, 2]) {
      const place = join(directory, `${nodeId}`);
      await mkdir(place);
      const opened = await TestSwitch.start(systemClock, place);
      switches.push(opened);
      await opened.setNetworks({ nodeId, networks: [network] });
      for (const { node, mac, address, epoch } of places) {
        if (node !== nodeId) continue;
        const card = await TestCard.open(join(place, mac.slice(-2)));
        await opened.connect(card, { networkId, mac, epoch });
        cards.push({ card, mac, address });
      }
    }
    const endpoints = await Promise.all(switches.map((each) => each.endpoint(carrier)));
    for (const [at, each] of switches.entries()) {
      const other = endpoints[1 - at];
      if (other !== undefined) await each.setPeers([{ nodeId: 2 - at, ...other }]);
    }
    while (!cards.every(({ card }) => card.isConnected)) await sleep(systemClock, 10);
    return new SwitchBed(directory, switches, cards);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { card } of this.cards) card.close();
    await Promise.all(this.switches.map((each) => each.close()));
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** A datagram of so many bytes with its headers. */
export function datagram(from: BedCard, to: BedCard, bytes: number): Buffer {
  const frame = Buffer.alloc(bytes);
  frame.write(to.mac.replaceAll(":", "") + from.mac.replaceAll(":", ""), 0, "hex");
  frame.write("080045", 12, "hex");
  frame.writeUInt16BE(bytes - 14, 16);
  frame.writeUInt8(64, 22);
  frame.writeUInt8(17, 23);
  frame.writeUInt32BE(from.address, 26);
  frame.writeUInt32BE(to.address, 30);
  frame.writeUInt16BE(9, 34);
  frame.writeUInt16BE(9, 36);
  frame.writeUInt16BE(bytes - 34, 38);
  frame.writeUInt16BE(0, headerBytes - 2);
  return frame;
}
