/** What every driver that gives network cards must do, seen through the VM manager with the demo guest. */
import { rm } from "node:fs/promises";
import { assert, sleep, withTimeLimit } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { userNetwork } from "@blixard/protocol";
import { findProgram } from "../confinement/launcher.ts";
import { builtinImages } from "../images/builtin-images.ts";
import { askByDatagram } from "./ask-by-datagram.ts";
import { type DriverConformanceCase, withHarness } from "./driver-conformance.ts";
import { freePort } from "./free-port.ts";
import type { RequiredComponent } from "./required-component.ts";
import type { VmHarness, VmWish } from "./vm-harness.ts";

export const networkConformanceNeeds: RequiredComponent = {
  name: "passt",
  present: findProgram("passt") !== undefined,
  install: "apt-get install -y passt",
};

const pageWaitMs = 60_000;

export const networkConformanceCases: readonly DriverConformanceCase[] = [
  {
    name: "gives the guest the card, the address and the page that its specification says, and the next manager leaves them",
    run: withHarness(async (harness, kind) => {
      const port = await freePort();
      const mac = "06:00:00:00:00:0a";
      const spec = {
        networks: [{ network: userNetwork, address: "10.0.2.77", mac }],
        forwards: [{ port, to: 80 }],
      };
      harness.want({ ...demo, spec });
      const seen = await harness.untilReady();
      assert(seen.driver === kind, `the driver is ${kind}, not ${seen.driver}`);
      await harness.untilConsole("address 10.0.2.77\n");
      const first = await pageAt(port);
      assert(first.includes("10.0.2.77") && first.includes(mac), `the page shows both: ${first}`);
      assert(visitsOf(first) === 1, "it is the first visit");
      const pid = await harness.process();
      await harness.reopen();
      harness.want({ ...demo, spec });
      assert(visitsOf(await pageAt(port)) === 2, "the guest has gone on");
      assert((await harness.process()) === pid, "the process is the same");
      await expectReach(harness, "ping 10.0.2.2", "reply from 10.0.2.2\n");
    }),
  },
  {
    name: "answers datagrams through a forwarded port of UDP, which the same port of TCP leaves free",
    run: withHarness(async (harness) => {
      const port = await freePort();
      harness.want({
        ...demo,
        spec: {
          forwards: [
            { port, to: 80 },
            { port, to: 7, protocol: "udp" },
          ],
        },
      });
      await harness.untilReady();
      await pageAt(port);
      const text = "what comes goes back";
      assert((await askByDatagram(port, text)) === text, "the guest says the same again");
    }),
  },
  {
    name: "finds the card of a VM whose record was lost",
    run: withHarness(async (harness) => {
      const port = await freePort();
      const wish = { ...demo, spec: { forwards: [{ port, to: 80 }] } };
      harness.want(wish);
      await harness.untilReady();
      await pageAt(port);
      const pid = await harness.process();
      await harness.close();
      await rm(harness.recordPath);
      await harness.reopen();
      harness.want(wish);
      await pageAt(port);
      assert((await harness.process()) === pid, "the process is the same");
    }),
  },
  {
    name: "gives no card to a VM that asks for none",
    run: withHarness(async (harness) => {
      harness.want({ ...demo, spec: { networks: [] } });
      await harness.untilReady();
      await harness.untilConsole("no network card\n");
    }),
  },
];

const [demoImage] = builtinImages.filter(({ name }) => name === "demo");
const demo: VmWish = demoImage === undefined ? {} : { image: demoImage };

async function expectReach(harness: VmHarness, line: string, answer: string): Promise<void> {
  const end = (await harness.manager.readConsole(harness.vmId, { offset: -1, bytesMax: 1, waitMs: 0 })).endOffset;
  await harness.type(line);
  await harness.untilConsole(answer, end);
}

/** The page of the guest, which has to come up first. */
async function pageAt(port: number): Promise<string> {
  return await withTimeLimit(systemClock, pageWaitMs, undefined, async (signal) => {
    for (;;) {
      try {
        return await (await fetch(`http://127.0.0.1:${port}/`, { signal })).text();
      } catch {
        await sleep(systemClock, 100, signal);
      }
    }
  });
}

function visitsOf(page: string): number {
  return Number(/visits<\/dt><dd>(\d+)/.exec(page)?.[1]);
}
