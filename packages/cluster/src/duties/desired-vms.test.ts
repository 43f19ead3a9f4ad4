import { featureLevels } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { commandArbitrary } from "../testing/command-arbitrary.ts";
import { sampleNode, sampleSpec, sampleVmId } from "../testing/command-samples.ts";
import { desiredOf } from "../testing/desired-of.ts";
import { fedMachine } from "../testing/fed-machine.ts";
import { DesiredVms } from "./desired-vms.ts";

const opener = () => () => undefined;

async function followed() {
  const fed = await fedMachine();
  const desired = new DesiredVms(fed.stateMachine, 1, opener);
  const create = (name: string, number: number, node: number) => {
    const spec = sampleSpec();
    return {
      type: "vm.create",
      name,
      vmId: sampleVmId(number),
      spec,
      desired: "running",
      placement: "",
      node,
    } as const;
  };
  await fed.apply({ type: "node.admit", node: sampleNode(2), ticketId: null });
  return { ...fed, desired, create };
}

describe("DesiredVms", () => {
  it("tells after any commands what one tells that sees the state for the first time, and keeps what has not changed", async () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.array(commandArbitrary, { minLength: 1, maxLength: 3 }) },
      { weight: 1, arbitrary: fc.constant("restore" as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const { stateMachine, apply, restoreAfter, desired, create } = await followed();
        await apply(create("web", 1, 1), create("db", 2, 2));
        let before = new Map(stateMachine.state.vms);
        let wishes = desired.list;
        for (const each of steps) {
          if (each === "restore") await restoreAfter({ type: "kv.put", key: "k", value: "v" });
          else await apply(...each.map(({ body }) => body));
          const byId = (a: { vmId: string }, b: { vmId: string }) => (a.vmId < b.vmId ? -1 : 1);
          const list = desired.list;
          const first = desiredOf(stateMachine.state, 1);
          expect(list.map(textOf).sort()).toEqual(first.map(textOf).sort());
          expect(desired.list).toBe(list);
          for (const wish of [...wishes].sort(byId)) {
            const { state } = stateMachine;
            const isSame = before.get(wish.name) === state.vms.get(wish.name) && each !== "restore";
            if (
              isSame &&
              !("openUserData" in wish) &&
              wish.volumeIds?.size === 0 &&
              wish.image === state.images.get(wish.image.name)
            ) {
              expect(list).toContain(wish);
            }
          }
          before = new Map(stateMachine.state.vms);
          wishes = list;
        }
      }),
      { numRuns: 60 },
    );
  });

  it("gives another wish when user data is sealed anew, and the same when another VM changes", async () => {
    const { stateMachine, apply, desired, create } = await followed();
    const userData = { data: "00", ephemeralKey: "00".repeat(32), keys: [] };
    await apply(
      { type: "cluster.setLevel", level: featureLevels.own },
      { ...create("web", 1, 1), userData },
      create("db", 2, 1),
    );
    const wish = () => desired.list.find(({ name }) => name === "web");
    const first = wish();
    expect(first?.openUserData).toBeDefined();
    await apply({ type: "vm.desire", name: "db", desired: "stopped", newEpoch: false });
    expect(stateMachine.state.vms.get("db")?.desired).toBe("stopped");
    expect(wish()).toBe(first);
    await apply({
      type: "vm.reseal",
      vmId: sampleVmId(1),
      ephemeralKey: "11".repeat(32),
      keys: [],
    });
    expect(wish()).not.toBe(first);
  });
});

const textOf = (wish: {
  readonly openUserData?: unknown;
  readonly volumeIds?: ReadonlyMap<string, string | undefined>;
}) =>
  JSON.stringify({ ...wish, volumeIds: [...(wish.volumeIds ?? [])], openUserData: wish.openUserData !== undefined });
