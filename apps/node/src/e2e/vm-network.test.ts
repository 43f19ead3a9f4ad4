/**
 * Networks of VMs from the command line, against three real nodes: two guests on two nodes reach each other by name and nobody else
 * in their name, security groups hold between them, one serves a page through a port of its node, and neither reaches a node.
 */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import type { BlixardClient } from "@blixard/client";
import { instanceProcesses, ProcessCluster } from "@blixard/testing";
import {
  askByDatagram,
  describeWith,
  freePort,
  networkGuestCommandLine,
  networkGuestComponent,
  networkGuestFiles,
  networkGuestReady,
} from "@blixard/vm-manager/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { builtBinary } from "./binary.ts";
import { exchange, ForwardProcess } from "./forward-process.ts";
import { runBinary } from "./run-binary.ts";

const patienceMs = 180_000;

/** The serial console of a guest that runs each line. */
class Guest {
  readonly #client: () => BlixardClient;
  readonly name: string;
  #said = "";
  #questions = 0;

  constructor(client: () => BlixardClient, name: string) {
    this.#client = client;
    this.name = name;
  }

  async untilSaid(text: string, from = 0): Promise<string> {
    for (;;) {
      const at = this.#said.indexOf(text, from);
      if (at >= 0) return this.#said.slice(from, at + text.length);
      const { data } = await this.#client().vms.readConsole({
        ...{ name: this.name, offset: this.#said.length, waitMs: 10_000 },
      });
      this.#said += Buffer.from(data).toString("latin1");
    }
  }

  /** What the line wrote, but for white space around it. */
  async run(line: string): Promise<string> {
    const id = ++this.#questions;
    const from = this.#said.length;
    const text = `echo begin-$((${id}))-; ${line}; echo end-$((${id}))-\n`;
    await this.#client().call("vm.consoleWrite", { name: this.name, data: Buffer.from(text) });
    const answer = await this.untilSaid(`end-${id}-`, from);
    return answer
      .replaceAll("\r", "")
      .replace(/^[\s\S]*begin-\d+-/, "")
      .replace(/end-\d+-$/, "")
      .trim();
  }
}

describeWith(describe, networkGuestComponent)("networks of VMs", () => {
  let cluster: ProcessCluster;
  let client: BlixardClient;
  let directory = "";
  const vmIds: string[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "blixard-guest-"));
    const flags = ["--transport", "iroh", "--vm-driver", "qemu"];
    cluster = await ProcessCluster.start({ binary: builtBinary(), flags });
    client = cluster.client();
    const { kernel, initrd } = networkGuestFiles();
    await writeFile(join(directory, "kernel"), kernel);
    await writeFile(join(directory, "initrd"), initrd);
    const parts = ["--kernel", join(directory, "kernel"), "--initrd", join(directory, "initrd")];
    const imported = await run("image", "import", "guest", ...parts, "--append", networkGuestCommandLine);
    expect(imported).toMatchObject({ code: 0 });
  }, patienceMs);

  afterAll(async () => {
    client?.close();
    await cluster?.close();
    for (const pid of vmIds.flatMap((vmId) => instanceProcesses(vmId))) process.kill(pid, "SIGKILL");
    await rm(directory, { recursive: true, force: true });
  });

  /** The command line on the machine of the first node. */
  const run = async (...args: readonly string[]) => {
    const timeoutMs = patienceMs;
    const { code, stdout, stderr } = await runBinary([...args, "--data-dir", `${cluster.dataRoot}/node-1`], {
      timeoutMs,
    });
    return { code, said: `${stdout}${stderr}` };
  };

  /** Asks again until the change has reached the switches. */
  const untilIs = async (expected: string, ask: () => Promise<string>) => {
    for (let said = ""; said !== expected; ) said = await ask();
  };

  /** Two guests on two nodes, whose processes get cards in one more network for a while. */
  const cardsComeAndGo = async (web: Guest, db: Guest) => {
    const processes = vmIds.flatMap((vmId) => instanceProcesses(vmId));
    expect(await run("network", "create", "side", "--range", "10.9.0.0/24")).toMatchObject({ code: 0 });
    const added = await run("vm", "set", "db", "--network", "side,address=10.9.0.77");
    expect(added).toMatchObject({ code: 0, said: expect.stringContaining("at once") });
    expect(await run("vm", "set", "web", "--network", "side")).toMatchObject({ code: 0 });
    expect((await run("vm", "list", "-o", "wide")).said).toContain(" lan 10.1.0.77, side 10.9.0.77 ");
    const isThere = (device: string) => `[ -e /sys/class/net/${device} ] && echo there || echo gone`;
    const asks = (device: string) =>
      `ip link set ${device} up; udhcpc -q -n -t 20 -T 1 -i ${device} -s /lease > /dev/null 2>&1`;
    const page = () => web.run("(get 10.9.0.77 80 3 | grep page) > /dev/null 2>&1 && echo reached || echo walled");
    await untilIs("there", () => db.run(isThere("eth1")));
    await untilIs("there", () => web.run(isThere("eth2")));
    await db.run(asks("eth1"));
    await web.run(asks("eth2"));
    await untilIs("reached", page);
    expect(await db.run("get 10.9.0.2 80 20")).toContain("a page of the guest");

    const refused = await run("vm", "set", "db", "--unset-network", "dmz");
    expect(refused).toMatchObject({ code: 64, said: expect.stringContaining("is not in the network dmz") });
    for (const name of ["web", "db"]) {
      expect(await run("vm", "set", name, "--unset-network", "side")).toMatchObject({ code: 0 });
    }
    await untilIs("walled", page);
    await untilIs("gone", () => db.run(isThere("eth1")));
    await untilIs("gone", () => web.run(isThere("eth2")));
    expect(await run("network", "delete", "side", "--yes")).toMatchObject({ code: 0 });
    expect(vmIds.flatMap((vmId) => instanceProcesses(vmId))).toEqual(processes);
  };

  /** Two guests on two nodes have the addresses of their cards by themselves, reach each other by them, and nobody in another's name. */
  const withIpv6 = async (web: Guest, db: Guest) => {
    const cardOf = async ({ name }: Guest) => (await client.vms.get(name)).cards?.[0]?.address6 ?? "none";
    const [webHas, dbHas] = [await cardOf(web), await cardOf(db)];
    const shown = (device: string) =>
      `ip -6 -o addr show dev ${device} scope global | grep -v tentative | tr -s ' ' | cut -d ' ' -f 4`;
    await untilIs(`${webHas}/64`, () => web.run(shown("eth1")));
    await untilIs(`${dbHas}/64`, () => db.run(shown("eth0")));
    expect(await web.run("nslookup -type=aaaa db.lan.internal | sed -n '3,$s/^Address: *//p' | xargs")).toBe(dbHas);
    const pings = (guest: Guest, to: string, from = "") =>
      guest.run(`ping -6 -c 2 -W 2 ${from} ${to} > /dev/null 2>&1 && echo reached || echo walled`);
    expect([await pings(web, dbHas), await pings(db, webHas)]).toEqual(["reached", "reached"]);
    expect(await web.run(`get ${dbHas} 80 20`)).toContain("a page of db");
    await db.run("ip -6 addr add fd00:1::99/64 dev eth0 nodad");
    expect(await pings(db, webHas, "-I fd00:1::99")).toBe("walled");
    await db.run("ip -6 addr del fd00:1::99/64 dev eth0");
  };

  /** Two guests on two nodes, of which `db` is at 10.1.0.77 and has a wall for a while. */
  const groupsHold = async (web: Guest, db: Guest, vmId: string) => {
    const processes = instanceProcesses(vmId);
    expect(await run("vm", "set", "db", "--network", "lan,groups=back")).toMatchObject({ code: 3 });
    expect(await run("vm", "set", "db", "--network", "user,groups=back")).toMatchObject({ code: 64 });
    expect(await run("security-group", "create", "back", "--in", "tcp:80,from=label:app=web")).toMatchObject({
      code: 0,
    });
    expect((await run("security-group", "list")).said).toMatch(/^back +tcp:80,from=label:app=web +none /m);
    const changed = await run("vm", "set", "db", "--network", "lan,groups=back");
    expect(changed).toMatchObject({ code: 0, said: expect.stringContaining("at once") });
    expect((await run("vm", "explain", "db")).said).toContain("lan 10.1.0.77 (back)");

    const reached = (command: string) => `(${command}) > /dev/null 2>&1 && echo reached || echo walled`;
    const ping = (bytes: number) => web.run(reached(`ping -c 1 -W 1 -s ${bytes} 10.1.0.77`));
    const page = () => web.run(reached("get 10.1.0.77 80 3 | grep page"));
    await untilIs("walled", page);
    expect(await run("vm", "set", "web", "--label", "app=web")).toMatchObject({ code: 0 });
    await untilIs("reached", page);
    // Another port and protocol, fragments, and what the guest itself begins.
    await db.run("httpd -p 9000 -h /www");
    await untilIs("reached", () => db.run(reached("get 127.0.0.1 9000 3 | grep page")));
    expect(await web.run(reached("get 10.1.0.77 9000 3 | grep page"))).toBe("walled");
    expect([await ping(100), await ping(3_000)]).toEqual(["walled", "walled"]);
    expect(await db.run(reached("get 10.1.0.8 80 3 | grep page"))).toBe("walled");
    expect(await db.run("resolve web")).toBe("10.1.0.8");
    expect(await run("security-group", "set", "back", "--in", "icmp,from=10.1.0.8/32")).toMatchObject({ code: 0 });
    await untilIs("reached", () => ping(100));
    // A fragment is no answer: it takes a rule of its own.
    expect(await ping(3_000)).toBe("walled");
    expect(await run("security-group", "set", "back", "--out", "icmp")).toMatchObject({ code: 0 });
    await untilIs("reached", () => ping(3_000));
    expect(await page()).toBe("walled");

    const refused = await run("security-group", "delete", "back", "--yes");
    expect(refused.said).toContain("the security group back is used by the VM db");
    expect(await run("vm", "set", "db", "--network", "lan")).toMatchObject({ code: 0 });
    await untilIs("reached", page);
    expect(await run("security-group", "delete", "back", "--yes")).toMatchObject({ code: 0 });
    expect(instanceProcesses(vmId)).toEqual(processes);
  };

  it("are made, shown and refused", async () => {
    expect(await run("network", "create", "user", "--range", "10.1.0.0/24")).toMatchObject({ code: 64 });
    expect(await run("network", "create", "lan", "--range", "8.8.8.0/24")).toMatchObject({ code: 64 });
    const made = await run(
      "network",
      "create",
      "lan",
      "--range",
      "10.1.0.0/24",
      "--exclude",
      "10.1.0.0/29",
      "--range6",
      "fd00:1::/64",
    );
    expect(made).toMatchObject({ code: 0 });
    expect((await run("network", "list")).said).toMatch(/^lan +10\.1\.0\.0\/24 fd00:1::\/64 +10\.1\.0\.0\/29 /m);
    const nowhere = await run("vm", "create", "web", "--image", "demo", "--memory", "32M", "--network", "dmz");
    expect(nowhere).toMatchObject({ code: 3, said: expect.stringContaining("there is no network dmz") });
  }, 120_000);

  it("join guests on two nodes, serve a page, and reach no node", async () => {
    const port = await freePort();
    const create = (name: string, ...more: string[]) =>
      run("vm", "create", name, "--image", "guest", "--memory", "128M", "--on-node-loss", "wait", ...more);
    const cards = ["--network", "user,address=10.0.7.20", "--network", "lan"];
    expect(await create("web", ...cards, "--forward", `${port}:80`)).toMatchObject({ code: 0 });
    expect(await create("db", "--network", "lan,address=10.1.0.77")).toMatchObject({ code: 0 });
    const shown = (await run("vm", "list", "-o", "wide")).said;
    expect(shown).toMatch(new RegExp(` user 10\\.0\\.7\\.20, lan 10\\.1\\.0\\.8 +${port}:80 `));
    expect(shown).toContain(" lan 10.1.0.77 ");
    const records = await client.vms.list();
    vmIds.push(...records.map(({ vmId }) => vmId));
    expect(new Set(records.map(({ node }) => node)).size).toBe(2);

    const [web, db] = ["web", "db"].map((name) => new Guest(() => client, name)) as [Guest, Guest];
    await Promise.all([web.untilSaid(networkGuestReady), db.untilSaid(networkGuestReady)]);
    // By names, and with the way that the wall of each switch leaves.
    await db.run("echo 'a page of db' > /www/index.html");
    expect(await web.run("resolve db")).toBe("10.1.0.77");
    expect(await db.run("resolve web.lan.internal")).toBe("10.1.0.8");
    expect(await db.run("resolve nobody.lan.internal")).toBe("");
    expect(await web.run("get $(resolve db.lan.internal) 80 20")).toContain("a page of db");
    expect(await db.run("get $(resolve web) 80 20")).toContain("a page of the guest");

    await withIpv6(web, db);
    await groupsHold(web, db, records.find(({ name }) => name === "db")?.vmId ?? "");
    await cardsComeAndGo(web, db);

    // In the name of nobody else: another address, and another card.
    const pings = (from: string) =>
      db.run(`ping -c 3 -W 1 -I ${from} 10.1.0.8 > /dev/null && echo reached || echo walled`);
    expect(await pings("10.1.0.77")).toBe("reached");
    await db.run("ip addr add 10.1.0.9/24 dev eth0");
    expect(await pings("10.1.0.9")).toBe("walled");
    expect((await run("network", "list")).said).toMatch(
      /^lan +10\.1\.0\.0\/24 fd00:1::\/64 +10\.1\.0\.0\/29 +2 +245 /m,
    );
    const [webNode, dbNode] = ["web", "db"].map((name) => records.find((each) => each.name === name)?.node);
    const explained = (await run("vm", "explain", "web")).said;
    expect(explained).toMatch(/^network {4}user 10\.0\.7\.20 [0-9a-f:]{17}: out to everything but its node$/m);
    expect(explained).toMatch(
      new RegExp(
        `^network {4}lan 10\\.1\\.0\\.8 fd00:1::[0-9a-f:]+ [0-9a-f:]{17}: frames pass to node ${dbNode}$`,
        "m",
      ),
    );
    expect(explained).toContain(`\nforward    127.0.0.1:${port} on node ${webNode} itself leads to port 80 of tcp\n`);
    await db.run("ip addr del 10.1.0.9/24 dev eth0; mac=$(cat /sys/class/net/eth0/address)");
    await db.run("ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99; ip link set eth0 up");
    expect(await pings("10.1.0.77")).toBe("walled");
    await db.run("ip link set eth0 down; ip link set eth0 address $mac; ip link set eth0 up");
    expect(await pings("10.1.0.77")).toBe("reached");

    const page = async () => await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect(await page()).toContain("a page of the guest");
    const own = Object.values(networkInterfaces()).flatMap((all = []) => all.filter(({ family }) => family === "IPv4"));
    const addresses = ["10.0.7.2", "169.254.169.254", "10.1.0.1", ...own.map(({ address }) => address)];
    const ports = cluster.nodes.flatMap(({ ready }) => [ready.bind, ready.http].map((at) => at.split(":").at(-1)));
    await web.run("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip link set lo down");
    await web.run("ip route flush table local; ip route add local 10.0.7.20 dev eth0 table local");
    await web.run("ip route add local 10.1.0.8 dev eth1 table local");
    const attempts = addresses.flatMap((address) => ports.map((each) => `${address}:${each}`));
    // One that is reached shows that the others would be seen. The shell of this guest would wait for its jobs for ever.
    const targets = ["10.1.0.77:80", ...attempts].join(" ");
    const attempt = "(nc -w 3 $(echo $at | tr : ' ') < /dev/null > /dev/null 2>&1 && echo $at >> /reached) &";
    await web.run(`for at in ${targets}; do ${attempt} done; sleep 6`);
    expect(await web.run("cat /reached")).toBe("10.1.0.77:80");

    // A VM that has no other network is reached in a private one, and that of another when it is asked for.
    const ways = [
      await ForwardProcess.start(["db", "0:80", "--data-dir", `${cluster.dataRoot}/node-${webNode}`]),
      await ForwardProcess.start([
        "web",
        "0:80",
        "--network",
        "lan",
        "--data-dir",
        `${cluster.dataRoot}/node-${dbNode}`,
      ]),
    ];
    const pageOf = async (at: number) => await (await fetch(`http://127.0.0.1:${ways[at]?.ports[0]}/`)).text();
    expect([await pageOf(0), await pageOf(1)]).toEqual(["a page of db\n", "a page of the guest\n"]);
    await web.run("(nc -ll -p 9000 -e md5sum &)");
    const sums = await ForwardProcess.start([
      "web",
      "0:9000",
      "--network",
      "lan",
      "--data-dir",
      `${cluster.dataRoot}/node-1`,
    ]);
    const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => at % 251));
    const digest = createHash("md5").update(sent).digest("hex");
    expect(await exchange(sums.ports[0] ?? 0, sent)).toBe(`${digest}  -\n`);
    for (const each of [...ways, sums]) expect(await each.interrupt()).toBe(130);
    expect(await run("vm", "forward", "web", "0:80", "--network", "dmz")).toMatchObject({ code: 64 });

    // The guests and their switch go on while the node is started anew; so does the lane.
    await cluster.restart(records.find(({ name }) => name === "web")?.node ?? 0);
    expect(await page()).toContain("a page of the guest");
    client.close();
    client = cluster.client();
    await client.vms.waitForPhase("web", ["Running"], { timeoutMs: patienceMs });
    expect(await pings("10.1.0.77")).toBe("reached");

    expect(await run("network", "delete", "lan", "--yes")).toMatchObject({
      said: expect.stringContaining("is in the network lan"),
    });
    for (const name of ["web", "db"]) expect(await run("vm", "delete", name, "--yes")).toMatchObject({ code: 0 });
    await expect(page()).rejects.toThrow();
    expect(await run("network", "delete", "lan", "--yes")).toMatchObject({ code: 0 });
  }, 600_000);

  it("answer datagrams through a forwarded port, also on the node that the VM has moved to", async () => {
    const port = await freePort();
    const create = (name: string, to: string) =>
      run("vm", "create", name, "--image", "demo", "--memory", "32M", "--forward", to);
    expect(await create("echo", `${port}:7/udp`)).toMatchObject({ code: 0 });
    expect((await run("vm", "list", "-o", "wide")).said).toContain(` ${port}:7/udp `);
    const { vmId, node } = await client.vms.get("echo");
    vmIds.push(vmId);
    expect(await askByDatagram(port, "before")).toBe("before");
    expect(await run("vm", "move", "echo")).toMatchObject({ code: 0 });
    const moved = await client.vms.get("echo");
    expect(moved.node).not.toBe(node);
    expect(await askByDatagram(port, "after")).toBe("after");
    // Another VM takes the port on another node, and the same port of TCP anywhere.
    const other = await create("other", `all:${port}:7/udp`);
    expect((await client.vms.get("other")).node).not.toBe(moved.node);
    // Both nodes are on this machine, which gives the port once: that is said wherever somebody looks.
    expect(other).toMatchObject({ code: 0, said: expect.stringMatching(`other: its port ${port} of udp is not open`) });
    expect((await run("vm", "explain", "other")).said).toMatch(
      /^forward .* is not open, and leads nowhere: the UDP port/m,
    );
    expect((await run("vm", "explain", "echo")).said).toMatch(/^forward .* itself leads to port 7 of udp$/m);
    await untilIs("warned", async () =>
      (await run("doctor")).said.includes("network of VM other") ? "warned" : "silent",
    );
    for (const name of ["echo", "other"]) expect(await run("vm", "delete", name, "--yes")).toMatchObject({ code: 0 });
  }, 300_000);

  it("carry connections from other nodes and other machines, each side ending on its own", async () => {
    const created = await run("vm", "create", "app", "--image", "guest", "--memory", "128M", "--on-node-loss", "wait");
    expect(created).toMatchObject({ code: 0 });
    const { vmId, node } = await client.vms.get("app");
    vmIds.push(vmId);
    const app = new Guest(() => client, "app");
    await app.untilSaid(networkGuestReady);
    await app.run("(nc -ll -p 9000 -e md5sum &)");
    const away = String((node ?? 0) === 1 ? 2 : 1);
    const home = {
      HOME: directory,
      XDG_CONFIG_HOME: join(directory, "config"),
      XDG_DATA_HOME: join(directory, "data"),
    };
    const { ticket } = await client.tickets.create({ role: "operator" });
    const added = await runBinary(["context", "add", "away", "-"], { env: home, input: ticket });
    expect(added).toMatchObject({ code: 0 });
    const ways = [
      // Over HTTP to a node that does not run it, and over Iroh.
      await ForwardProcess.start(["app", "0:80", "0:9000", "0:81", "--data-dir", `${cluster.dataRoot}/node-${away}`]),
      await ForwardProcess.start(["app", "0:80", "0:9000", "0:81"], home),
    ];
    const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => at % 251));
    for (const { ports, said } of ways) {
      const [page = 0, sum = 0, closed = 0] = ports;
      const pages = Array.from({ length: 20 }, async () => (await fetch(`http://127.0.0.1:${page}/`)).text());
      for (const each of await Promise.all(pages)) expect(each).toContain("a page of the guest");
      const digest = createHash("md5").update(sent).digest("hex");
      expect(await Promise.all([exchange(sum, sent), exchange(sum, sent)])).toEqual(Array(2).fill(`${digest}  -\n`));
      await expect(exchange(closed, sent)).rejects.toThrow();
      await said.until((text) => text.includes("port 81 of app: the connection is refused"));
    }
    const logs = cluster.nodes.map((each) => each.stderrTail(400));
    const opened = (log: string) => /"vm":"app",.*"a connection into a VM is opened"/.test(log);
    expect(logs.filter((log) => log.split("\n").some(opened))).toHaveLength(1);

    const viewer = await client.tokens.create({ role: "viewer" });
    const watcher = await ForwardProcess.start(["app", "0:80", "--address", cluster.node(1).ready.bind], {
      ...home,
      BLIXARD_TOKEN: viewer.token,
    });
    await expect(exchange(watcher.ports[0] ?? 0, sent)).rejects.toThrow();
    await watcher.said.until((text) => text.includes("port 80 of app: ") && text.includes("operator"));
    for (const each of [...ways, watcher]) expect(await each.interrupt()).toBe(130);
    expect(await run("vm", "forward", "app", "80:80:80")).toMatchObject({ code: 64 });
    expect(await run("vm", "forward", "nobody", "0:80")).toMatchObject({ code: 3 });
    expect(await run("vm", "delete", "app", "--yes")).toMatchObject({ code: 0 });
  }, 300_000);
});
