import { type CommandBodyOf, limits } from "@blixard/protocol";
import { beforeEach, describe, expect, it } from "@jest/globals";
import { initBody, sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { Replica } from "../testing/replica.ts";

let replica: Replica;
const networkId = sampleVmId(7);
const tcp = (port: string, peer?: string) => ({
  ...{ protocol: "tcp" as const, ports: [port] },
  ...(peer === undefined ? {} : { peer }),
});

type Rules = CommandBodyOf<"securityGroup.create">["in"];

const createGroup = (name: string, rules: { readonly in?: Rules; readonly out?: Rules } = {}) =>
  replica.apply({ type: "securityGroup.create", name, in: [], out: [], ...rules });
const setGroup = (name: string, rules: { readonly in?: Rules; readonly out?: Rules }) =>
  replica.apply({ type: "securityGroup.set", name, ...rules });
const deleteGroup = (name: string) => replica.apply({ type: "securityGroup.delete", name });
const networks = (...securityGroups: string[]) => [
  { network: "lan", ...(securityGroups.length === 0 ? {} : { securityGroups }) },
];
const createVm = (name: string, number: number, ...groups: string[]) =>
  replica.apply({
    ...{ type: "vm.create", name, vmId: sampleVmId(number), node: 2, desired: "running", placement: "" },
    spec: sampleSpec({ networks: networks(...groups) }),
    cards: [{ network: "lan", networkId, address: `10.1.0.${number + 1}`, mac: `02:00:00:00:00:0${number}` }],
  });
const setVm = (set: CommandBodyOf<"vm.set">["set"]) =>
  replica.apply({ type: "vm.set", name: "web", set, unset: [], labels: {}, unsetLabels: [] });

beforeEach(() => {
  replica = new Replica();
  replica.apply(initBody);
  replica.apply({ type: "node.admit", node: sampleNode(2, { featureLevel: 3 }), ticketId: null });
  replica.apply({ type: "network.create", name: "lan", networkId, range: "10.1.0.0/24", exclude: [] });
});

const missing = (name: string) => ({
  ...{ ok: false, code: "SECURITY_GROUP_NOT_FOUND", message: `there is no security group ${name}` },
});

describe("a security group", () => {
  it("is made once, changed in one direction or both, and shown as it is", () => {
    expect(createGroup("web", { in: [tcp("80")] })).toMatchObject({ ok: true, value: { group: { in: [tcp("80")] } } });
    expect(createGroup("web")).toMatchObject({ ok: false, code: "ALREADY_EXISTS" });
    expect(setGroup("web", { out: [{ protocol: "any" }] })).toMatchObject({ ok: true });
    expect(replica.state.securityGroups.get("web")).toMatchObject({ in: [tcp("80")], out: [{ protocol: "any" }] });
    setGroup("web", { in: [] });
    expect(replica.state.securityGroups.get("web")).toMatchObject({ in: [], out: [{ protocol: "any" }] });
    expect(setGroup("db", { in: [] })).toMatchObject(missing("db"));
    expect(deleteGroup("db")).toMatchObject(missing("db"));
  });

  it("names groups that there are, and itself", () => {
    expect(createGroup("web", { in: [tcp("80", "group:web")] })).toMatchObject({ ok: true });
    expect(createGroup("db", { in: [tcp("5432", "group:front")] })).toMatchObject(missing("front"));
    expect(setGroup("web", { out: [tcp("5432", "group:db")] })).toMatchObject(missing("db"));
    expect(createGroup("db", { in: [tcp("5432", "group:web")] })).toMatchObject({ ok: true });
  });

  it("stays while a network card or a rule names it, and says which", () => {
    createGroup("web", { in: [tcp("80", "group:web")] });
    createGroup("db", { in: [tcp("5432", "group:web")] });
    expect(createVm("web", 1, "web")).toMatchObject({ ok: true });
    const message = "the security group web is used by the VM web, rules of the group db";
    expect(deleteGroup("web")).toMatchObject({ ok: false, code: "CONFLICT", message });
    expect(deleteGroup("db")).toMatchObject({ ok: true });
    expect(deleteGroup("web")).toMatchObject({ ok: false, code: "CONFLICT" });
    replica.apply({ type: "vm.purge", name: "web" });
    expect(deleteGroup("web")).toMatchObject({ ok: true });
    expect(replica.state.securityGroups.size).toBe(0);
  });

  it("is named by network cards, also those of a VM that there is, which keep all else", () => {
    expect(createVm("web", 1, "web")).toMatchObject(missing("web"));
    createGroup("web");
    createVm("web", 1);
    expect(setVm({ networks: networks("web", "db") })).toMatchObject(missing("db"));
    expect(setVm({ networks: networks("web") })).toMatchObject({
      ok: true,
      value: { changes: [{ field: "networks", effect: "now" }], vm: { spec: { networks: networks("web") } } },
    });
    expect(deleteGroup("web")).toMatchObject({ code: "CONFLICT" });
    for (const other of [[{ network: "user" }], [{ network: "lan", address: "10.1.0.9" }], []]) {
      expect(setVm({ networks: other })).toMatchObject({ ok: false, code: "CONFLICT" });
    }
    expect(setVm({ networks: networks() })).toMatchObject({ ok: true });
    expect(deleteGroup("web")).toMatchObject({ ok: true });
  });

  it("is one of a bounded number", () => {
    for (let count = 0; count < limits.securityGroupsMax; count++) createGroup(`g${count}`);
    expect(createGroup("more")).toMatchObject({ ok: false, code: "CONFLICT" });
  });
});
