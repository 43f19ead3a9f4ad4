import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { linuxGuestDone, linuxGuestImage, linuxGuestNeeds, linuxGuestReady } from "../testing/linux-guest.ts";
import { describeWith } from "../testing/required-component.ts";
import { VmHarness, type VmWish } from "../testing/vm-harness.ts";
import { QemuDriver } from "./qemu-driver.ts";

const driver = new QemuDriver({ clock: systemClock });
/** Linux sets 64 MiB aside when it is told that there may be memory beyond 4 GiB. */
const bootMiB = 256;
const online = "console=ttyS0 panic=-1 quiet memhp_default_state=online";

async function openHarness() {
  const harness = await VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
  let at = 0;
  const run = async (command: string, expected: string) => {
    await harness.type(command);
    at = await harness.untilConsole(expected, at);
    at = await harness.untilConsole(linuxGuestDone, at);
  };
  const untilReady = async () => {
    at = await harness.untilConsole(linuxGuestReady, at);
  };
  const untilSize = async (vcpus: number, memoryMiB: number) =>
    await harness.until(
      `${vcpus} vcpus and ${memoryMiB} MiB`,
      ({ startedWith: has }) => has?.vcpus === vcpus && has.memoryMiB === memoryMiB,
    );
  return { harness, run, untilReady, untilSize };
}

const total = "$(awk '/MemTotal/ {print int($2/1024)}' /proc/meminfo)";
/** What a guest does with a processor that has come; udev does it in others. */
const takeCpus = "for cpu in /sys/devices/system/cpu/cpu[1-9]; do echo 1 > $cpu/online; done";

describeWith(describe, linuxGuestNeeds)("the size of a VM that runs with QEMU", () => {
  it("grows and shrinks with what is wanted, through a new manager too, and is that of the next start", async () => {
    const { harness, run, untilReady, untilSize } = await openHarness();
    await using _ = harness;
    const image = { ...(await linuxGuestImage(harness.manager)), commandLine: online };
    const wish = (vcpus: number, memoryMiB: number, more: VmWish = {}): VmWish => ({
      ...{ image, ...more },
      spec: { vcpus, vcpusMax: 3, memoryMiB, memoryMiBMax: 512 },
    });
    harness.want(wish(1, bootMiB));
    await untilReady();
    const pid = await harness.process();
    await run(`before=${total}; echo $before > /before; nproc`, "1");
    harness.want(wish(3, bootMiB + 130));
    const grown = await untilSize(3, bootMiB + 130);
    expect(grown.startedWith?.hotplug).toEqual({ vcpus: { min: 1, max: 3 }, memoryMiB: { min: bootMiB, max: 512 } });
    await run(`${takeCpus}; echo "$(nproc) vcpus, $((${total}-$(cat /before))) more"`, "3 vcpus, 130 more");

    await harness.reopen();
    harness.want(wish(2, bootMiB + 32));
    const shrunk = await untilSize(2, bootMiB + 32);
    expect(shrunk.conditions).toBeUndefined();
    await run(`echo "$(nproc) vcpus, $((${total}-$(cat /before))) more"`, "2 vcpus, 32 more");
    expect(await harness.process()).toBe(pid);

    harness.want(wish(2, bootMiB + 32, { fencingEpoch: 2 }));
    await untilReady();
    await run(`echo "$(nproc) vcpus"`, "2 vcpus");
    const again = await untilSize(2, bootMiB + 32);
    expect(again.startedWith?.hotplug).toMatchObject({ vcpus: { min: 2 }, memoryMiB: { min: bootMiB + 32 } });
  });

  it("stays what it is where the guest does not listen, which is told, and where the process cannot", async () => {
    const { harness, untilReady, untilSize } = await openHarness();
    await using _ = harness;
    const image = { ...(await linuxGuestImage(harness.manager)), commandLine: `${online} acpi=off` };
    const wish = (vcpus: number, memoryMiB: number): VmWish => ({
      image,
      spec: { vcpus, vcpusMax: 2, memoryMiB, memoryMiBMax: 320 },
    });
    harness.want(wish(1, bootMiB));
    await untilReady();
    harness.want(wish(2, bootMiB));
    await untilSize(2, bootMiB);
    harness.want(wish(1, bootMiB));
    const held = await harness.until("what is wrong", ({ conditions }) => conditions !== undefined);
    expect(held).toMatchObject({
      startedWith: { vcpus: 2, memoryMiB: bootMiB },
      conditions: [{ type: "Resources", status: false, reason: "NotAsWanted" }],
    });
    expect(held.conditions?.[0]?.message).toBe("vcpus: the guest has 2 of 1 vcpus");
    harness.want({ image, spec: { vcpus: 5, memoryMiB: 1_024 } });
    const kept = await harness.until("nothing is wrong", ({ conditions }) => conditions === undefined);
    expect(kept.startedWith).toMatchObject({ vcpus: 2, memoryMiB: bootMiB });
  });
});
