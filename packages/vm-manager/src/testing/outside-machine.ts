/** A machine outside of this one, as a guest sees it: a network namespace at the other end of a virtual cable. Needs root. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Answers every request over HTTP with one page, and says so first. */
const server = `
const { createServer } = require("node:http");
createServer((request, response) => response.end("a page from outside\\n")).listen(80, "0.0.0.0", () => console.log("serves"));
`;

const client = "fetch(process.argv[1]).then((answer) => answer.text()).then(console.log)";
const sender = `
const socket = require("node:dgram").createSocket("udp4");
socket.send("from outside", Number(process.argv[2]), process.argv[1], () => socket.close());
`;
const fetchTimeoutMs = 5_000;

export class OutsideMachine implements AsyncDisposable {
  /** Of the machine, and of this one on the cable. */
  readonly address: string;
  readonly hostAddress: string;
  readonly #namespace: string;
  #server: ChildProcess | undefined;

  private constructor(namespace: string, subnet: number) {
    this.#namespace = namespace;
    this.hostAddress = `10.213.${subnet}.1`;
    this.address = `10.213.${subnet}.2`;
  }

  static async open(): Promise<OutsideMachine> {
    const machine = new OutsideMachine(`blx-out-${process.pid}`, process.pid % 250);
    try {
      await machine.#lay();
      await machine.#serve();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Fetches a page from there. Rejects when it does not come within some seconds. */
  async fetch(url: string): Promise<string> {
    const command = [process.execPath, "-e", client, url];
    const limit = { timeout: fetchTimeoutMs, killSignal: "SIGKILL" } as const;
    return (await run("ip", ["netns", "exec", this.#namespace, ...command], limit)).stdout;
  }

  /** Sends a datagram of UDP from there. */
  async sendDatagram(address: string, port: number): Promise<void> {
    const command = [process.execPath, "-e", sender, address, String(port)];
    await run("ip", ["netns", "exec", this.#namespace, ...command], { timeout: fetchTimeoutMs, killSignal: "SIGKILL" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server?.kill("SIGKILL");
    await run("ip", ["netns", "delete", this.#namespace]).catch(() => {});
    await run("ip", ["link", "delete", this.#link]).catch(() => {});
  }

  get #link(): string {
    return `blxo${process.pid % 1_000_000}`;
  }

  async #lay(): Promise<void> {
    const ip = (...all: string[]) => run("ip", all);
    const namespace = this.#namespace;
    await ip("netns", "add", namespace);
    await ip("link", "add", this.#link, "type", "veth", "peer", "name", "eth0", "netns", namespace);
    await ip("address", "add", `${this.hostAddress}/24`, "dev", this.#link);
    await ip("link", "set", this.#link, "up");
    await ip("-n", namespace, "address", "add", `${this.address}/24`, "dev", "eth0");
    await ip("-n", namespace, "link", "set", "eth0", "up");
  }

  async #serve(): Promise<void> {
    const command = ["netns", "exec", this.#namespace, process.execPath, "-e", server];
    this.#server = spawn("ip", command, { stdio: ["ignore", "pipe", "inherit"] });
    const { stdout } = this.#server;
    if (stdout !== null) await once(stdout, "data");
  }
}
