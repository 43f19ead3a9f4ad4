import { BlixardError, Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import type { InstanceState, VmInstance } from "./driver.ts";
import { stopInstance } from "./stop-ladder.ts";

const ended: InstanceState = { type: "ended", reason: "guest-shutdown", message: "" };

/** Which ways to stop it has; all that it was asked. */
function stop(listensTo: "agent" | "acpi" | "quit", agent: "listens" | "lies" | "refuses" | "absent" | "lent") {
  const asked: string[] = [];
  const state = new Watch<InstanceState>({ type: "running" });
  const ask = async (how: string) => {
    asked.push(how);
    if (how === listensTo) state.set(ended);
  };
  const instance = {
    state,
    handle: { pid: 1 },
    requestPowerdown: () => ask("acpi"),
    quit: () => ask("quit"),
    kill: (signal: string) => void ask(signal),
  } as unknown as VmInstance;
  const shutdown = async () => {
    await ask("agent");
    if (agent === "refuses") throw new BlixardError("CONFLICT", "no");
  };
  const { signal } = new AbortController();
  const limits = { powerdownDeadlineMs: 40, quitDeadlineMs: 1_000, signal };
  const done = stopInstance(systemClock, instance, {
    ...limits,
    agent: agent === "absent" ? undefined : { shutdown, isLent: agent === "lent" },
  });
  return done.then((by) => [by, asked] as const);
}

describe("stopInstance", () => {
  it("asks the agent in the guest first, where there is one", async () => {
    expect(await stop("agent", "listens")).toEqual(["agent", ["agent", "quit"]]);
    expect(await stop("acpi", "absent")).toEqual(["acpi", ["acpi", "quit"]]);
    // It would be asked only when the snapshot that has its channel is over.
    expect(await stop("acpi", "lent")).toEqual(["acpi", ["acpi", "quit"]]);
  });

  it("goes on when the agent refuses, or says yes and does nothing", async () => {
    expect(await stop("acpi", "refuses")).toEqual(["acpi", ["agent", "acpi", "quit"]]);
    expect(await stop("quit", "lies")).toEqual(["quit", ["agent", "acpi", "quit"]]);
  });
});
