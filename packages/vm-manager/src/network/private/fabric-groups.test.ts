/** Security groups where frames pass: at the card that sends, and at the card that gets, whoever sent. */
import { parseIpv4 } from "@blixard/common";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { type FrameWishes, ipv4Frame } from "../../testing/frames.ts";
import { lengthBytes, withLength } from "../frame-reader.ts";
import { macNumberOf } from "../packet.ts";
import { Fabric, type FabricPort } from "./fabric.ts";
import type { NetworkGroup, NetworkHost } from "./network-table.ts";

const networkId = "11111111-2222-4333-8444-555555555555";
const range = { base: parseIpv4("10.1.0.0"), mask: 0xffff_ff00 };
const hostOf = (name: string, last: number, node: number): NetworkHost => ({
  ...{ name, node, epoch: 1, mac: `02:00:00:00:00:0${last}` },
  address: parseIpv4(`10.1.0.${last}`),
});
const web = hostOf("web", 2, 1);
const db = hostOf("db", 3, 1);
const far = hostOf("far", 4, 2);
const group = (name: string, rules: Partial<NetworkGroup>): NetworkGroup => ({ in: [], out: [], ...rules, name });

let fabric: Fabric;
let got: { web: Buffer[]; db: Buffer[]; away: number };
let ports: { web: FabricPort; db: FabricPort };

function know(hosts: readonly NetworkHost[], ...groups: NetworkGroup[]): void {
  const network = { networkId, name: "lan", range, server: range.base + 1, hosts, groups };
  fabric.setNetworks({ nodeId: 1, networks: [network] });
}

beforeEach(() => {
  got = { web: [], db: [], away: 0 };
  fabric = new Fabric(
    () => {
      got.away++;
      return undefined;
    },
    () => 1_000,
  );
  const portOf = (name: "web" | "db", { mac }: NetworkHost): FabricPort => ({
    config: { type: "private", vm: { pid: 1, startTime: "" }, socketPath: "", mac, networkId, epoch: 1 },
    macNumber: macNumberOf(mac),
    deliver: (frames) => got[name].push(frames.subarray(lengthBytes)) > 0,
    takes: () => false,
  });
  ports = { web: portOf("web", web), db: portOf("db", db) };
  fabric.add(ports.web);
  fabric.add(ports.db);
});

function frame(from: NetworkHost, to: NetworkHost, wishes: FrameWishes = {}): Buffer {
  const address = ({ mac }: NetworkHost) => `10.1.0.${mac.at(-1)}`;
  const made = ipv4Frame({ from: address(from), to: address(to), mac: from.mac, ...wishes });
  made.write(to.mac.replaceAll(":", ""), 0, "hex");
  return made;
}

const answer = { sourcePort: 80, port: 40_000, ack: true } as const;
const send = (from: NetworkHost, to: NetworkHost, wishes?: FrameWishes) => {
  const bytes = frame(from, to, wishes);
  if (from === far) fabric.fromNode(2, [{ networkId, epoch: 1, frame: bytes }]);
  else fabric.fromGuest(from.mac === web.mac ? ports.web : ports.db, [withLength(bytes)]);
};
const counts = () => {
  const drops = Object.entries(fabric.drops).filter(([, count]) => count > 0);
  return { web: got.web.length, db: got.db.length, away: got.away, ...Object.fromEntries(drops) };
};

describe("security groups in a private network", () => {
  it("let everything pass to and from a card without any", () => {
    know([{ ...web, groups: ["none"] }, db, far], group("none", {}));
    send(db, far);
    send(far, db);
    expect(counts()).toEqual({ web: 0, db: 1, away: 1 });
    send(db, web);
    send(web, db);
    expect(counts()).toEqual({ web: 0, db: 1, away: 1, no_rule_in: 1, no_rule_out: 1 });
  });

  it("hold at the card that sends, towards other nodes too, and answers come back", () => {
    const out = [{ protocol: "tcp" as const, ports: ["80"], peer: "10.1.0.4/32" }];
    know([{ ...web, groups: ["a"] }, db, far], group("a", { out }));
    send(web, far);
    send(web, far, { port: 22 });
    send(web, db);
    send(far, web, answer);
    send(far, web, { ...answer, sourcePort: 22 });
    send(far, web);
    expect(counts()).toEqual({ web: 1, db: 0, away: 1, no_rule_out: 2, no_rule_in: 2 });
  });

  it("hold at the card that gets, whatever the switch of another node let pass", () => {
    const rules = { in: [{ protocol: "tcp" as const, ports: ["80"], peer: "group:front" }] };
    know([web, { ...db, groups: ["back"] }, { ...far, peers: ["group:front"] }], group("back", rules));
    send(far, db);
    send(far, db, { port: 22 });
    send(far, db, { port: 80, fragment: 0x2000 });
    send(web, db);
    expect(counts()).toEqual({ web: 0, db: 1, away: 0, no_rule_in: 3 });
    // It answers, and begins nothing.
    send(db, far, answer);
    send(db, far);
    send(db, web, answer);
    expect(counts()).toEqual({ web: 0, db: 1, away: 1, no_rule_in: 3, no_rule_out: 2 });
  });

  it("follow at once who has a label, also in connections that there are", () => {
    const rules = group("back", { in: [{ protocol: "tcp", peer: "label:app=web" }] });
    const labelled = (peers: readonly string[]) => know([{ ...web, peers }, { ...db, groups: ["back"] }, far], rules);
    labelled(["label:app=web"]);
    send(web, db);
    send(db, web, answer);
    expect(counts()).toEqual({ web: 1, db: 1, away: 0 });
    labelled([]);
    send(web, db, { syn: false, ack: true });
    send(db, web, { ...answer, syn: false });
    expect(counts()).toEqual({ web: 1, db: 1, away: 0, no_rule_in: 1, no_rule_out: 1 });
    labelled(["label:app=web"]);
    send(web, db);
    expect(counts()).toMatchObject({ web: 1, db: 2 });
  });

  it("are about the card that gets a frame, which cannot be for another address", () => {
    const rules = group("a", { out: [{ protocol: "any", peer: "10.1.0.3/32" }] });
    know([{ ...web, groups: ["a"] }, db, far], rules);
    send(web, db);
    send(web, db, { to: "10.1.0.4" });
    send(web, far, { to: "10.1.0.3" });
    expect(counts()).toEqual({ web: 0, db: 1, away: 0, nobody_there: 2 });
  });

  it("leave a card open that has them no more, and forget with its port what it began", () => {
    know([{ ...web, groups: ["a"] }, db, far], group("a", { out: [{ protocol: "tcp" }] }));
    send(web, db);
    send(db, web, answer);
    fabric.remove(ports.web);
    fabric.add(ports.web);
    send(db, web, answer);
    expect(counts()).toEqual({ web: 1, db: 1, away: 0, no_rule_in: 1 });
    know([web, db, far]);
    send(db, web, answer);
    expect(counts()).toEqual({ web: 2, db: 1, away: 0, no_rule_in: 1 });
  });

  it("give the gateway's services to a guest that may send nothing", () => {
    know([{ ...web, groups: ["none"] }, db, far], group("none", {}));
    const dns = frame(web, db, { to: "10.1.0.1", protocol: "udp", port: 53 });
    dns.write("020000000002", 0, "hex");
    fabric.fromGuest(ports.web, [withLength(dns)]);
    expect(counts()).not.toHaveProperty("no_rule_out");
  });
});
