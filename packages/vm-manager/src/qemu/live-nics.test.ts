import { rm } from "node:fs/promises";
import { parseIpv4, parseIpv4Range } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { describe, expect, it } from "@jest/globals";
import { FakeDriver } from "../fake/fake-driver.ts";
import { importNetworkGuest, networkGuestComponent, networkGuestReady } from "../testing/network-guest.ts";
import { describeWith } from "../testing/required-component.ts";
import { VmHarness, type VmWish } from "../testing/vm-harness.ts";
import { QemuDriver } from "./qemu-driver.ts";

const driver = new QemuDriver({ clock: systemClock });
const networkId = "11111111-2222-4333-8444-555555555550";
const mac = "02:00:00:00:00:07";

async function openHarness(bootArguments = "") {
  const harness = await VmHarness.open({ drivers: [driver], tunables: { powerdownDeadlineMs: 1 } });
  const guest = await importNetworkGuest(harness.manager);
  const image = { ...guest, commandLine: `${guest.commandLine}${bootArguments}` };
  let at = 0;
  let questions = 0;
  /** A VM in these networks, as the state says it; of `lan` with its address there. */
  const want = (networks: readonly string[], address = "10.1.0.9", more: VmWish = {}) => {
    const isIn = networks.includes("lan");
    const { fencingEpoch: epoch = 1 } = more;
    const hosts = isIn ? [{ name: harness.name, mac, address: parseIpv4(address), node: 1, epoch }] : [];
    const range = parseIpv4Range("10.1.0.0/24");
    harness.manager.setNetworks({
      nodeId: 1,
      networks: [{ networkId, name: "lan", range, server: parseIpv4("10.1.0.1"), hosts }],
    });
    harness.want({
      ...{ image, cards: isIn ? [{ network: "lan", networkId, address, mac }] : [] },
      ...more,
      spec: { memoryMiB: 128, networks: networks.map((network) => ({ network })) },
    });
  };
  const untilReady = async (what: string) => {
    at = await harness.untilConsole(`${networkGuestReady} ${what} by`, at);
  };
  const run = async (line: string, expected: string) => {
    const id = ++questions;
    await harness.type(`${line}; echo end-$((${id}))-`);
    at = await harness.untilConsole(expected, at);
    at = await harness.untilConsole(`end-${id}-`, at);
  };
  return { harness, want, untilReady, run };
}

const seconds = 60;
/** Waits in the guest for what takes it a moment, and says `word` when it is so. */
const until = (condition: string, word: string) =>
  `for i in $(seq ${10 * seconds}); do if ${condition}; then echo is $(echo ${word}); break; fi; sleep 0.1; done`;
const present = (device: string) => `[ -e /sys/class/net/${device} ]`;
/** Asks the switch for the address of a card, which takes frames in both directions. */
const ask = (device: string, tries = 20) =>
  `ip link set ${device} up; udhcpc -q -n -t ${tries} -T 1 -i ${device} -s /lease > /dev/null 2>&1`;
const shows = (device: string, address: string) =>
  `ip addr flush dev ${device}; ${ask(device, 2)}; ip -4 -o addr show dev ${device} | grep -q ${address}/24`;

describeWith(describe, networkGuestComponent)("the network cards of a VM that runs with QEMU", () => {
  it("come and go with what is wanted, those of its start too, over new managers and a lost record", async () => {
    const { harness, want, untilReady, run } = await openHarness();
    await using _ = harness;
    want(["user"]);
    await untilReady("10.0.2.15/24");
    const pid = await harness.process();
    want(["user", "lan"]);
    await run(until(present("eth1"), "there"), "is there");
    await run(`${ask("eth1")}; cat /sys/class/net/eth1/address; ip -4 -o addr show dev eth1`, "inet 10.1.0.9/24");
    await run("resolve web.lan.internal", "10.1.0.9");
    expect(harness.observation()?.startedWith).not.toHaveProperty("cards");

    // Another manager knows where it is, and puts a card with another address in its place.
    await run("old=$(cat /sys/class/net/eth1/ifindex); echo $(echo noted)", "noted");
    await harness.reopen();
    want(["user", "lan"], "10.1.0.10");
    await run(until(`${present("eth1")} && [ $(cat /sys/class/net/eth1/ifindex) != $old ]`, "another"), "is another");
    await run(until(shows("eth1", "10.1.0.10"), "moved"), "is moved");
    await run("cat /sys/class/net/eth1/address", mac);
    expect(harness.observation()?.conditions).toBeUndefined();

    // One that finds neither QEMU nor a way for frames takes nothing away.
    const gone = new QemuDriver({ clock: systemClock }, { program: "/nonexistent/qemu" });
    await harness.reopen({ drivers: [gone, new FakeDriver()] });
    want(["user", "lan"], "10.1.0.10");
    await run("sleep 2; echo $(echo looked)", "looked");
    await run(until(`${present("eth0")} && ${present("eth1")}`, "kept"), "is kept");
    await harness.close();
    await rm(harness.recordPath);
    await harness.reopen();
    want(["lan"], "10.1.0.10");
    await run(until(`! ${present("eth0")}`, "gone"), "is gone");
    await run(until(shows("eth1", "10.1.0.10"), "still"), "is still");
    want(["user"]);
    await run(until(`! ${present("eth1")} && ${present("eth0")}`, "user"), "is user");
    await run(`${ask("eth0")}; ip -4 -o addr show dev eth0`, "inet 10.0.2.15/24");
    expect(await harness.process()).toBe(pid);

    want(["user", "lan"], "10.1.0.11", { fencingEpoch: 2 });
    await untilReady("10.0.2.15/24 10.1.0.11/24");
    want([], "10.1.0.11", { fencingEpoch: 2 });
    await run(until(`! ${present("eth0")} && ! ${present("eth1")}`, "bare"), "is bare");
    await harness.until("nothing is wrong", ({ conditions }) => conditions === undefined);
  });

  it("are there again when the guest lets go late of one that is wanted again", async () => {
    const { harness, want, untilReady, run } = await openHarness();
    await using _ = harness;
    want(["user"]);
    await untilReady("10.0.2.15/24");
    await run("old=$(cat /sys/class/net/eth0/ifindex); echo $(echo noted)", "noted");
    // It stands still before it has let go.
    want([], undefined, { desired: "paused" });
    await harness.until("what is wrong", ({ conditions }) => conditions !== undefined);
    want(["user"]);
    await run(until(`${present("eth0")} && [ $(cat /sys/class/net/eth0/ifindex) != $old ]`, "again"), "is again");
    await harness.until("nothing is wrong", ({ conditions }) => conditions === undefined);
  });

  it("carry nothing from the moment on at which they are taken away, also where the guest does not let go", async () => {
    const { harness, want, untilReady, run } = await openHarness(" acpi=off pcie_ports=compat");
    await using _ = harness;
    want(["lan"]);
    await untilReady("10.1.0.9/24");
    want([]);
    const held = await harness.until("what is wrong", ({ conditions }) => conditions !== undefined);
    expect(held.conditions).toMatchObject([
      {
        ...{ type: "Network", status: false, reason: "NotAsWanted" },
        message: "the card in the network lan cannot be taken out: the guest does not let go of it",
      },
    ]);
    await run(`${ask("eth0", 2)} && echo $(echo somebody) answers || echo $(echo nobody) answers`, "nobody answers");
    want(["lan"]);
    await harness.until("nothing is wrong", ({ conditions }) => conditions === undefined);
    await run(`${ask("eth0")} && echo $(echo somebody) answers`, "somebody answers");
  });
});
