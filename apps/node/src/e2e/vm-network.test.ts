/** The network of a VM from the command line, against three real nodes: a page of the guest, and nothing of the node for it. */
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { ProcessCluster } from "@blixard/testing";
import {
  describeWith,
  networkGuestCommandLine,
  networkGuestComponent,
  networkGuestFiles,
  networkGuestReady,
} from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { runBinary } from "./run-binary.ts";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

describeWith(describe, networkGuestComponent)("a VM with a network", () => {
  let cluster: ProcessCluster;
  let directory = "";

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-guest-"));
    cluster = await ProcessCluster.start({
      binary: builtBinary(),
      flags: ["--transport", "iroh", "--vm-driver", "qemu"],
    });
  }, 180_000);

  afterAll(async () => {
    await cluster?.close();
    await rm(directory, { recursive: true, force: true });
  });

  /** The command line on the machine of the first node. */
  const run = (args: readonly string[], input?: string) =>
    runBinary([...args, "--data-dir", `${cluster.dataRoot}/node-1`], {
      timeoutMs: 180_000,
      ...(input === undefined ? {} : { input }),
    });

  it("serves a page through a port of its node, also while that is started anew, and reaches no node", async () => {
    const { kernel, initrd } = networkGuestFiles();
    await writeFile(join(directory, "kernel"), kernel);
    await writeFile(join(directory, "initrd"), initrd);
    const parts = ["--kernel", join(directory, "kernel"), "--initrd", join(directory, "initrd")];
    const imported = await run(["image", "import", "guest", ...parts, "--append", networkGuestCommandLine]);
    expect([imported.code, imported.stderr]).toEqual([0, expect.any(String)]);
    const port = await freePort();
    const create = ["vm", "create", "web", "--image", "guest", "--memory", "128M", "--on-node-loss", "wait"];
    const created = await run([...create, "--network", "user,address=10.0.7.20", "--forward", `${port}:80`]);
    expect([created.code, created.stderr]).toEqual([0, expect.any(String)]);
    const shown = await run(["vm", "get", "web", "-o", "wide"]);
    expect(shown.stdout).toMatch(new RegExp(` user 10\\.0\\.7\\.20 +${port}:80 `));

    const client = cluster.client();
    const { vmId, node } = await client.vms.get("web");
    let said = "";
    const untilSaid = async (text: string) => {
      while (!said.includes(text)) {
        const { data } = await client.vms.readConsole({ name: "web", offset: said.length, waitMs: 10_000 });
        said += Buffer.from(data).toString("latin1");
      }
    };
    await untilSaid(networkGuestReady);
    expect(said).toContain(`${networkGuestReady} 10.0.7.20/24 by nameserver 10.0.7.3`);
    const page = async () => await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect(await page()).toContain("a page of the guest");

    const own = Object.values(networkInterfaces()).flatMap((all = []) => all.filter(({ family }) => family === "IPv4"));
    const addresses = ["10.0.7.2", "169.254.169.254", ...own.map(({ address }) => address)];
    const ports = cluster.nodes.flatMap(({ ready }) => [ready.bind, ready.http].map((at) => at.split(":").at(-1)));
    const attempts = addresses.flatMap((address) => ports.map((each) => `${address}:${each}`));
    await run(["vm", "console", "web"], "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip link set lo down\n");
    await run(
      ["vm", "console", "web"],
      "ip route flush table local; ip route add local 10.0.7.20 dev eth0 table local\n",
    );
    const attack = `for at in ${attempts.join(" ")}; do (nc -w 5 \${at%:*} \${at#*:} < /dev/null && echo reached $at) & done; wait; echo attack-$((40 + 2))`;
    await run(["vm", "console", "web"], `${attack}\n`);
    await untilSaid("attack-42");
    expect(said).not.toMatch(/^reached /m);
    expect(await page()).toContain("a page of the guest");

    const conflict = await run(["vm", "create", "other", "--image", "guest", "--memory", "128M", "--forward", "0:80"]);
    expect([conflict.code, conflict.stderr]).toEqual([64, expect.stringContaining("--forward")]);
    await cluster.restart(node ?? 0);
    expect(await page()).toContain("a page of the guest");
    const again = cluster.client();
    expect(await again.vms.waitForPhase("web", ["Running"], { timeoutMs: 120_000 })).toMatchObject({ vmId });
    expect((await run(["vm", "delete", "web", "--yes"])).code).toBe(0);
    await expect(page()).rejects.toThrow();
    client.close();
    again.close();
  }, 600_000);
});
