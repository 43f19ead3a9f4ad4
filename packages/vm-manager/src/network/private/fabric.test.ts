import { parseIpv4 } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { arpFrame, type FrameWishes, ipv4Frame, question } from "../../testing/frames.ts";
import { lengthBytes, withLength } from "../frame-reader.ts";
import { macNumberOf } from "../packet.ts";
import { Fabric, type FabricPort } from "./fabric.ts";
import { decodeRecord, type LaneRecord } from "./lane-record.ts";

const networkId = "11111111-2222-4333-8444-555555555555";
const range = { base: parseIpv4("10.1.0.0"), mask: 0xffff_ff00 };
const hosts = [
  { name: "web", mac: "02:00:00:00:00:0a", address: parseIpv4("10.1.0.2"), node: 1, epoch: 3 },
  { name: "db", mac: "02:00:00:00:00:0b", address: parseIpv4("10.1.0.3"), node: 1, epoch: 1 },
  { name: "far", mac: "02:00:00:00:00:0c", address: parseIpv4("10.1.0.4"), node: 2, epoch: 7 },
] as const;
const [web, db, far] = hosts;

interface TestPort extends FabricPort {
  readonly got: Buffer[];
  /** For connections that the switch has opened. */
  readonly own: Buffer[];
}

function openFabric({ isFull = false, hasConnections = false } = {}) {
  const sent: { readonly nodeId: number; readonly record: LaneRecord | undefined }[] = [];
  const fabric = new Fabric(
    (nodeId, records) => {
      sent.push({ nodeId, record: decodeRecord(records.subarray(lengthBytes)) });
      return undefined;
    },
    () => 0,
  );
  const portOf = ({ mac, epoch }: { readonly mac: string; readonly epoch: number }): TestPort => {
    const got: Buffer[] = [];
    const vm = { pid: 1, startTime: "" };
    const deliver = (frames: Buffer) => {
      if (!isFull) got.push(frames.subarray(lengthBytes));
      return !isFull;
    };
    const own: Buffer[] = [];
    const takes = (content: Buffer) => hasConnections && own.push(content) > 0;
    const port = { config: { type: "private", vm, socketPath: "", mac, networkId, epoch }, got, deliver } as const;
    return { ...port, own, takes, macNumber: macNumberOf(mac) };
  };
  const ports = { web: portOf(web), db: portOf(db) };
  fabric.setNetworks({ nodeId: 1, networks: [{ networkId, name: "lan", range, server: range.base + 1, hosts }] });
  fabric.add(ports.web);
  fabric.add(ports.db);
  const dropped = () => Object.fromEntries(Object.entries(fabric.drops).filter(([, count]) => count > 0));
  return { fabric, sent, dropped, portOf, ...ports };
}

/** From web, to db, where nothing else is wished. */
function frame({ toMac = db.mac, ...wishes }: FrameWishes & { readonly toMac?: string } = {}): Buffer {
  const made = ipv4Frame({ from: "10.1.0.2", to: "10.1.0.3", mac: web.mac, ...wishes });
  made.write(toMac.replaceAll(":", ""), 0, "hex");
  return made;
}

describe("connections of the switch into a guest", () => {
  const toSwitch = (wishes: FrameWishes = {}) => frame({ to: "10.1.0.1", toMac: "02:00:00:00:00:02", ...wishes });

  it("get what a card says to the address of the switch over TCP, in its own name and place alone", () => {
    const { fabric, web: port, db: other, dropped } = openFabric({ hasConnections: true });
    fabric.fromGuest(port, [withLength(toSwitch())]);
    expect([port.own, port.got, other.got]).toEqual([[toSwitch()], [], []]);
    fabric.fromGuest(port, [
      withLength(toSwitch({ from: "10.1.0.3" })),
      withLength(toSwitch({ mac: db.mac })),
      withLength(toSwitch({ protocol: "udp" })),
    ]);
    expect([port.own.length, other.own.length]).toEqual([1, 0]);
    expect(dropped()).toEqual({ source_address: 1, source_mac: 1, nobody_there: 1 });
    const without = openFabric();
    without.fabric.fromGuest(without.web, [withLength(toSwitch())]);
    expect(without.dropped()).toEqual({ nobody_there: 1 });
  });

  it("begin at the address of the switch, and only where the state places the card", () => {
    const { fabric, web: port, portOf } = openFabric();
    const { mac, address } = web;
    const own = { mac: "02:00:00:00:00:02", address: range.base + 1 };
    expect(fabric.endsOf(port)).toEqual({ own, guest: { mac, address } });
    expect(fabric.endsOf(portOf({ ...web, epoch: 2 }))).toBeUndefined();
    expect(fabric.endsOf(portOf(far))).toBeUndefined();
  });
});

describe("Fabric.fromGuest", () => {
  it("gives a frame to the port of the card that it is for, and to no other", () => {
    const { fabric, web: port, db: other, dropped } = openFabric();
    fabric.fromGuest(port, [withLength(frame())]);
    expect(other.got).toEqual([frame()]);
    expect(port.got).toEqual([]);
    expect(dropped()).toEqual({});
  });

  it("sends what is for another node there, with the network and the epoch of the sender", () => {
    const { fabric, web: port, sent } = openFabric();
    const to = frame({ to: "10.1.0.4", toMac: far.mac });
    fabric.fromGuest(port, [withLength(to)]);
    expect(sent).toEqual([{ nodeId: 2, record: { networkId, epoch: 3, frame: to } }]);
  });

  it.each([
    ["the card of a neighbour", frame({ mac: db.mac, toMac: far.mac }), "source_mac"],
    ["a card of nobody", frame({ mac: "02:00:00:00:00:99" }), "source_mac"],
    ["the address of a neighbour", frame({ from: "10.1.0.4" }), "source_address"],
    ["the address of the switch", frame({ from: "10.1.0.1" }), "source_address"],
    ["the address of a neighbour in ARP", arpFrame("10.1.0.4", "10.1.0.3", { mac: web.mac }), "source_address"],
    ["the card of a neighbour in ARP", arpFrame("10.1.0.3", "10.1.0.4", { mac: db.mac }), "source_mac"],
    [
      "an answer in ARP that nobody asked for",
      arpFrame("10.1.0.2", "10.1.0.3", { mac: web.mac, operation: 2 }),
      "group",
    ],
    ["everybody", frame({ toMac: "ff:ff:ff:ff:ff:ff" }), "group"],
    ["a group", frame({ toMac: "01:00:5e:00:00:fb", to: "224.0.0.251" }), "group"],
    ["nobody", frame({ toMac: "02:00:00:00:00:99" }), "nobody_there"],
    ["a port of the switch", frame({ to: "10.1.0.1", toMac: "02:00:00:00:00:02" }), "nobody_there"],
    ["who knows what", Buffer.alloc(60, 7), "not_understood"],
  ])("drops what is from or for %s, and counts it", (_, bytes, reason) => {
    const { fabric, web: port, db: other, sent, dropped } = openFabric();
    fabric.fromGuest(port, [withLength(bytes)]);
    expect([port.got, other.got, sent, dropped()]).toEqual([[], [], [], { [reason]: 1 }]);
  });

  it("lets nothing pass in the name of another, whatever else a frame says", () => {
    const frames = fc.tuple(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(...hosts), fc.constantFrom(...hosts));
    fc.assert(
      fc.property(frames, fc.boolean(), ([bytes, from, to], honest) => {
        const { fabric, web: port, db: other, sent } = openFabric();
        const random = Buffer.from(bytes);
        if (honest && random.length >= 34) {
          frame().copy(random, 0, 0, 34);
          random.write(to.mac.replaceAll(":", ""), 0, "hex");
          random.write(from.mac.replaceAll(":", ""), 6, "hex");
          random.writeUInt32BE(from.address, 26);
        }
        if (random.length > 0) fabric.fromGuest(port, [withLength(random)]);
        const passed = [...other.got, ...sent.map(({ record }) => record?.frame ?? random)];
        return passed.every(
          (each) => each.readUIntBE(6, 6) === macNumberOf(web.mac) && each.readUInt32BE(26) === web.address,
        );
      }),
      { numRuns: 1_000 },
    );
  });

  it("says who has an address, answers names, and nothing of it reaches another guest", () => {
    const { fabric, web: port, db: other, sent } = openFabric();
    for (const target of ["10.1.0.3", "10.1.0.4", "10.1.0.1", "10.1.0.9"]) {
      fabric.fromGuest(port, [withLength(arpFrame("10.1.0.2", target, { mac: web.mac }))]);
    }
    const macs = port.got.map((answer) => answer.toString("hex", 22, 28));
    expect(macs).toEqual(["02000000000b", "02000000000c", "020000000002"]);
    const asked = frame({ to: "10.1.0.1", protocol: "udp", port: 53, toMac: "02:00:00:00:00:02" }).subarray(0, 42);
    fabric.fromGuest(port, [withLength(Buffer.concat([asked, question("far.lan.internal")]))]);
    expect(port.got.at(-1)?.subarray(-4)).toEqual(Buffer.from([10, 1, 0, 4]));
    expect([other.got, sent]).toEqual([[], []]);
  });

  it("lets nothing pass of a process of another epoch, or of a VM that is placed elsewhere", () => {
    const { fabric, portOf, db: other, dropped } = openFabric();
    const older = portOf({ ...web, epoch: 2 });
    fabric.add(older);
    fabric.fromGuest(older, [withLength(frame())]);
    const moved = portOf(far);
    fabric.add(moved);
    fabric.fromGuest(moved, [withLength(frame({ mac: far.mac, from: "10.1.0.4" }))]);
    expect([other.got, dropped()]).toEqual([[], { not_placed: 2 }]);
    // Nothing comes to them either.
    fabric.fromGuest(other, [withLength(frame({ mac: db.mac, from: "10.1.0.3", toMac: web.mac }))]);
    expect([older.got, dropped()]).toEqual([[], { not_placed: 2, nobody_there: 1 }]);
  });

  it("loses what a guest does not take", () => {
    const { fabric, web: port, dropped } = openFabric({ isFull: true });
    fabric.fromGuest(port, [withLength(frame()), withLength(frame())]);
    expect(dropped()).toEqual({ full: 2 });
  });
});

describe("Fabric.fromNode", () => {
  const record = (more: Partial<LaneRecord> = {}): LaneRecord => ({
    ...{ networkId, epoch: 7, frame: frame({ mac: far.mac, from: "10.1.0.4", to: "10.1.0.2", toMac: web.mac }) },
    ...more,
  });
  const from = (wishes: FrameWishes) => record({ frame: frame({ toMac: web.mac, to: "10.1.0.2", ...wishes }) });

  it("gives a frame to the port that it is for", () => {
    const { fabric, web: port, db: other, dropped } = openFabric();
    fabric.fromNode(2, [record()]);
    expect([port.got, other.got, dropped()]).toEqual([[record().frame], [], {}]);
  });

  it.each([
    ["a VM that is placed on another node", 3, record(), "not_placed"],
    ["a VM of this node", 2, from({ mac: db.mac, from: "10.1.0.3" }), "not_placed"],
    ["an earlier epoch of a VM", 2, record({ epoch: 6 }), "not_placed"],
    ["a network that no VM here is in", 2, record({ networkId: networkId.replace("1", "2") }), "not_placed"],
    ["a card of nobody", 2, from({ mac: "02:00:00:00:00:99", from: "10.1.0.4" }), "source_mac"],
    ["the address of another VM", 2, from({ mac: far.mac, from: "10.1.0.3" }), "source_address"],
    ["ARP", 2, record({ frame: arpFrame("10.1.0.4", "10.1.0.2", { mac: far.mac }) }), "not_understood"],
    ["a record that is cut", 2, undefined, "not_understood"],
  ])("drops what another node sends in the name of %s, and counts it", (_, node, sent, reason) => {
    const { fabric, web: port, db: other, dropped } = openFabric();
    fabric.fromNode(node, [sent]);
    expect([port.got, other.got, dropped()]).toEqual([[], [], { [reason]: 1 }]);
  });

  it("passes nothing on to a third node", () => {
    const { fabric, sent, dropped } = openFabric();
    const hosts2 = hosts.map((host) => (host === db ? { ...host, node: 3 } : host));
    fabric.setNetworks({
      nodeId: 1,
      networks: [{ networkId, name: "lan", range, server: range.base + 1, hosts: hosts2 }],
    });
    fabric.fromNode(2, [
      from({ mac: far.mac, from: "10.1.0.4" }),
      record({ frame: frame({ mac: far.mac, from: "10.1.0.4" }) }),
    ]);
    expect([sent, dropped()]).toEqual([[], { nobody_there: 1 }]);
  });
});
