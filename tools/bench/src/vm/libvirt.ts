/**
 * A libvirt of our own: its daemon in a namespace with directories of its own, and one shell of virsh that stays connected, as a
 * program that manages VMs would. Its domains have the machine and kernel of a VM of ours and the same serial line, and no network.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { cleanAtEnd } from "../proc/endings.ts";
import type { BareMachine } from "./bare-qemu.ts";

const patienceMs = 60_000;
const pollMs = 2;
/** Where the daemon keeps what it knows; each is a directory of this benchmark in its namespace. */
const places = ["/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/run/libvirt"];
/** As the user who runs the benchmark, and with the console written by QEMU itself, as ours is. */
const qemuConf = ['user = "root"', 'group = "root"', 'stdio_handler = "file"', 'security_driver = "none"'];

export class Libvirt implements AsyncDisposable {
  readonly #directory: string;
  readonly #daemon: ChildProcess;
  readonly #virsh: ChildProcess;
  readonly #clean: () => void;
  #said = "";
  #domains = 0;

  private constructor(directory: string, daemon: ChildProcess, virsh: ChildProcess, clean: () => void) {
    this.#directory = directory;
    this.#daemon = daemon;
    this.#virsh = virsh;
    this.#clean = clean;
    const hear = (data: unknown) => {
      this.#said = `${this.#said}${String(data)}`.slice(-10_000);
    };
    virsh.stdout?.on("data", hear);
    virsh.stderr?.on("data", hear);
  }

  /** Why there is none here; undefined when there may be one. */
  static missing(): string | undefined {
    if (process.getuid?.() !== 0) return "libvirt is left out: its daemon needs root";
    const missing = ["/usr/sbin/libvirtd", "/usr/bin/virsh"].filter((path) => !existsSync(path));
    if (missing.length === 0) return undefined;
    return `libvirt is left out: there is no ${missing.join(", no ")} (Debian: libvirt-daemon-system, libvirt-clients)`;
  }

  static async open(): Promise<Libvirt> {
    const directory = mkdtempSync(join(tmpdir(), "blixard-libvirt-"));
    const binds = places.map((place) => {
      const own = join(directory, place.replaceAll("/", "-").slice(1));
      mkdirSync(own);
      mkdirSync(place, { recursive: true });
      return `mount --bind ${own} ${place}`;
    });
    writeFileSync(join(directory, "etc-libvirt", "qemu.conf"), `${qemuConf.join("\n")}\n`);
    writeFileSync(join(directory, "etc-libvirt", "libvirtd.conf"), "");
    const inside = `${binds.join(" && ")} && exec libvirtd`;
    const daemon = spawn("unshare", ["--mount", "bash", "-c", inside], { stdio: "ignore" });
    const socket = join(directory, "run-libvirt", "libvirt-sock");
    const clean = cleanAtEnd(() => {
      daemon.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    });
    await until("libvirtd to listen", () => existsSync(socket));
    const virsh = spawn("virsh", ["--connect", `qemu+unix:///system?socket=${socket}`]);
    const libvirt = new Libvirt(directory, daemon, virsh, clean);
    await libvirt.#do("version", "hypervisor");
    return libvirt;
  }

  /** Milliseconds until the guest has written `banner`. The domain is gone before this resolves. */
  async startMs(machine: BareMachine, banner: string): Promise<number> {
    const name = `bench-${++this.#domains}`;
    const log = join(this.#directory, `${name}.log`);
    const description = join(this.#directory, `${name}.xml`);
    writeFileSync(description, domainOf(name, machine, log));
    const startedMs = performance.now();
    this.#virsh.stdin?.write(`create ${description}\n`);
    await until(
      `${name} to be ready (${this.#said})`,
      () => existsSync(log) && readFileSync(log, "latin1").includes(banner),
    );
    const endMs = performance.now();
    await this.#do(`destroy ${name}`, `'${name}' destroyed`);
    return endMs - startedMs;
  }

  async #do(command: string, answer: string): Promise<void> {
    this.#said = "";
    this.#virsh.stdin?.write(`${command}\n`);
    await until(`virsh ${command}`, () => this.#said.includes(answer)).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${this.#said}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#virsh.stdin?.end();
    const ended = new Promise<void>((resolve) => this.#daemon.once("exit", () => resolve()));
    this.#daemon.kill("SIGTERM");
    await Promise.race([ended, sleep(5_000)]);
    this.#clean();
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what}`);
    await sleep(pollMs);
  }
}

function domainOf(name: string, { program, arguments: given }: BareMachine, log: string): string {
  const after = (option: string) => given[given.indexOf(option) + 1] ?? "";
  return `<domain type="qemu">
  <name>${name}</name>
  <memory unit="MiB">${Number.parseInt(after("-m"), 10)}</memory>
  <vcpu>${Number.parseInt(after("-smp"), 10)}</vcpu>
  <os><type arch="x86_64" machine="${after("-M").split(",")[0]}">hvm</type><kernel>${after("-kernel")}</kernel></os>
  <devices>
    <emulator>${program.startsWith("/") ? program : `/usr/bin/${program}`}</emulator>
    <controller type="usb" model="none"/>
    <memballoon model="none"/>
    <serial type="file"><source path="${log}"/><target type="isa-serial" port="0"/></serial>
  </devices>
</domain>
`;
}
