/** User data of VMs: who can open it, from its creation until the VM is gone. */
import { toUtf8 } from "@blixard/common";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import { secretContext } from "./state-machine/secret.ts";
import { nodeKey } from "./state-machine/state.ts";
import { ClusterGroup, clusterId, MemoryKeyFile, until } from "./testing/cluster-group.ts";
import { madeUpSealing } from "./testing/made-up-sealing.ts";
import { endpointIdOf } from "./testing/memory-cluster-network.ts";

const text = "#cloud-config\npassword: hunter2 </script>\u0000\u0007\n";
const mark = `(sealed, ${text.length} bytes)`;
const spec = { memoryMiB: 64, image: "demo", cloudInit: { userData: text } };

let group: ClusterGroup;
beforeEach(async () => {
  group = new ClusterGroup();
  for (const id of [1, 2, 3, 4, 5]) group.machine(id).keys = new MemoryKeyFile(endpointIdOf(id));
  await group.form(3);
  for (const id of [4, 5]) await group.join(id, await group.ticket({ role: "worker" }));
});
afterEach(async () => {
  await group.close();
});

/** Creates the VM on the worker 4. */
async function create(meta = {}) {
  for (const id of [1, 2, 3, 5]) await group.call(1, "node.cordon", { id, cordoned: true });
  return await group.call(1, "vm.create", { name: "web", spec }, meta);
}

/** What who has taken over the machine can make of its copy of the state. */
function openedBy(id: number): string | undefined {
  const { vms, secrets } = group.node(id).state;
  const vmId = vms.get("web")?.vmId ?? "";
  const sealed = secrets.get(vmId);
  const { key } = group.machine(id).keys ?? { key: endpointIdOf(id) };
  const opened = sealed === undefined ? undefined : madeUpSealing(key).open(sealed, secretContext(clusterId, vmId));
  return opened === undefined ? undefined : toUtf8(opened);
}

const openers = () => [1, 2, 3, 4, 5].filter((id) => openedBy(id) === text);
const given = (id: number) => group.machine(id).vmManager.desired?.[0]?.openUserData?.();

describe("user data", () => {
  it("can be opened by voters and by the node that has the VM, and is shown to nobody", async () => {
    const { vm } = await create();
    expect(vm).toMatchObject({ node: 4, spec: { cloudInit: { userData: mark } } });
    await until(() => group.nodes().every(({ state }) => state.secrets.size === 1));
    expect(openers()).toEqual([1, 2, 3, 4]);
    await until(() => given(4) !== undefined);
    expect(toUtf8(given(4) ?? new Uint8Array())).toBe(text);
    const all = [
      await group.call(2, "vm.get", { name: "web" }),
      await group.call(2, "vm.list", {}),
      await group.call(2, "vm.explain", { name: "web" }),
      // Answers that are kept for who asks again, and the hashes of requests.
      [...group.node(5).state.requests.values()],
      [...group.node(5).state.vms.values()],
    ];
    expect(JSON.stringify(all)).not.toMatch(/hunter2|script|secrets/);
  });

  it("follows the roles of nodes and their keys, and goes with the VM", async () => {
    await create();
    await group.call(1, "member.setRole", { id: 5, role: "voter" });
    await until(() => openers().join() === "1,2,3,4,5");
    await group.call(1, "member.setRole", { id: 5, role: "worker" });
    await until(() => openers().join() === "1,2,3,4");
    const { endpointId } = await group.call(1, "node.rotateKey", { id: 4 });
    // It changes only when nothing is lost by that.
    await until(() => group.machine(4).keys?.key === endpointId);
    expect(openedBy(4)).toBe(text);
    await group.restart(4);
    await until(() => group.node(1).state.nodes.get(nodeKey(4))?.endpointId === endpointId);
    await until(() => [...group.node(1).state.secrets.values()][0]?.keys.length === 4);
    expect(openers()).toEqual([1, 2, 3, 4]);
    await group.call(1, "vm.desire", { name: "web", desired: "deleted", force: true });
    await until(() => group.nodes().every(({ state }) => state.secrets.size === 0));
  });

  it("of a request that is sent again is not compared by its text, of which nothing is kept", async () => {
    const meta = { requestId: "create-web" };
    const first = await create(meta);
    const again = await group.call(2, "vm.create", { name: "web", spec }, meta);
    expect(again.vm.vmId).toBe(first.vm.vmId);
    const alike = { ...spec, cloudInit: { userData: text.replace("hunter2", "hunter3") } };
    expect((await group.call(2, "vm.create", { name: "web", spec: alike }, meta)).vm.vmId).toBe(first.vm.vmId);
    const other = { ...spec, cloudInit: { userData: `${text}longer` } };
    await expect(group.call(2, "vm.create", { name: "web", spec: other }, meta)).rejects.toMatchObject({
      outcome: "not_applied",
    });
  });

  it("that was sealed before is no user data", async () => {
    const copied = { ...spec, cloudInit: { userData: mark } };
    await expect(group.call(1, "vm.create", { name: "web", spec: copied })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("spec.cloudInit.userData"),
    });
  });
});
