/**
 * The process of one embedded VM: v86 in a Node.js process of its own. It stands for QEMU's process: it has
 * a control socket that speaks the used part of QMP, a serial socket with a log, one for its network card, and a journal of events. It outlives
 * the VM manager; a crash of the guest's machine (a WebAssembly trap) ends the VM and nothing else.
 *
 *   running <--stop, cont--> paused
 *      |  halt with interrupts off, trap
 *      v
 *   shutdown | guest-panicked | internal-error   (tombstone until quit or a signal)
 */
import { appendFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { V86 } from "v86";
import { controlDescriptor, firstNicDescriptor, serialDescriptor } from "../process/instance-socket.ts";
import { ControlServer } from "./control-server.ts";
import { NetworkCard } from "./network-card.ts";
import { SerialServer } from "./serial-server.ts";
import type { VmHostConfig } from "./vm-host-config.ts";

type RunState = "prelaunch" | "running" | "paused" | "shutdown" | "guest-panicked" | "internal-error";

const bytesPerMiB = 1024 * 1024;
const vgaMemoryBytes = 1024 * 1024;

class VmHost {
  readonly #config: VmHostConfig;
  readonly #control: ControlServer;
  readonly #serial: SerialServer;
  readonly #card: NetworkCard | undefined;
  readonly #emulator: V86;
  readonly #ready: Promise<void>;
  #state: RunState = "prelaunch";
  /** Modem lines of COM1: a guest without ACPI says with them why it halts, see `nano-guest.ts`. */
  #dataTerminalReady = true;
  #requestToSend = true;
  #ending = false;

  constructor(config: VmHostConfig) {
    this.#config = config;
    this.#control = new ControlServer((command) => this.#execute(command));
    this.#emulator = makeEmulator(config);
    this.#ready = new Promise((resolve) => this.#listen("emulator-loaded", () => resolve()));
    this.#serial = new SerialServer(config.consoleLog, (data) => this.#emulator.serial_send_bytes(0, data));
    this.#emulator.add_listener("serial0-output-byte", (byte: number) => this.#serial.write(byte));
    this.#card = config.nic === undefined ? undefined : new NetworkCard(this.#emulator, config.nic.mac);
    this.#listen("serial0-data-terminal-ready-output", (up) => {
      this.#dataTerminalReady = up === true;
    });
    this.#listen("serial0-request-to-send-output", (up) => {
      this.#requestToSend = up === true;
    });
    this.#listen("cpu-event-halt", () => setImmediate(() => this.#onHalt()));
  }

  /** Boots, then serves. A machine that runs before it is made executes zeros, so nobody is let in earlier. */
  async run(): Promise<void> {
    await this.#ready;
    this.#card?.plugIn();
    await this.#resume();
    await this.#serial.listen(serialDescriptor);
    await this.#card?.listen(firstNicDescriptor);
    await this.#control.listen(controlDescriptor);
  }

  /** Ends the process. The reason stands in the journal first. */
  end(reason: "host-qmp-quit" | "host-signal"): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#emit("SHUTDOWN", { guest: false, reason });
    this.#serial.close();
    this.#card?.close();
    this.#control.close();
    void this.#emulator.stop().then(() => this.#emulator.destroy());
  }

  /** A trap inside the emulated machine. The process stays, so that the reason can be read. */
  fail(error: unknown): void {
    if (this.#ending) return;
    process.stderr.write(`the emulated machine failed: ${String(error)}\n`);
    this.#halt("internal-error", { guest: false, reason: "internal-error" });
  }

  #execute(command: string): Promise<unknown> {
    switch (command) {
      case "query-status":
        return Promise.resolve({ status: this.#state, running: this.#state === "running" });
      case "query-uuid":
        return Promise.resolve({ UUID: this.#config.vmId });
      case "query-name":
        return Promise.resolve({ name: this.#config.name });
      case "stop":
        return this.#pause();
      case "cont":
        return this.#resume();
      case "quit":
        setImmediate(() => this.end("host-qmp-quit"));
        return Promise.resolve();
      default:
        // A machine without firmware has no power button: the guest cannot be asked.
        return Promise.resolve();
    }
  }

  async #pause(): Promise<void> {
    if (this.#state !== "running") return;
    await this.#emulator.stop();
    this.#serial.flush();
    this.#state = "paused";
    this.#emit("STOP");
  }

  async #resume(): Promise<void> {
    if (this.#state !== "paused" && this.#state !== "prelaunch") return;
    await this.#emulator.run();
    this.#state = "running";
    this.#emit("RESUME");
  }

  #onHalt(): void {
    this.#serial.flush();
    if (!this.#dataTerminalReady) this.#halt("shutdown", { guest: true, reason: "guest-shutdown" });
    else if (!this.#requestToSend) this.#halt("shutdown", { guest: true, reason: "guest-reset" });
    else this.#halt("guest-panicked", { guest: true, reason: "guest-panic" });
  }

  #halt(state: RunState, data: { readonly guest: boolean; readonly reason: string }): void {
    if (this.#state !== "running" && this.#state !== "paused") return;
    this.#state = state;
    this.#emit("SHUTDOWN", data);
    void this.#emulator.stop();
  }

  #emit(event: string, data: object = {}): void {
    const unixMs = Date.now();
    const timestamp = { seconds: Math.floor(unixMs / 1000), microseconds: (unixMs % 1000) * 1000 };
    const line = `${JSON.stringify({ timestamp, event, data })}\n`;
    appendFileSync(this.#config.journalOut, line);
    this.#control.send(line);
  }

  /** v86 sends more events than its types list. */
  #listen(event: string, run: (value: unknown) => void): void {
    const bus: { add_listener(name: string, listener: (value: unknown) => void): void } = this.#emulator;
    bus.add_listener(event, run);
  }
}

function makeEmulator(config: VmHostConfig): V86 {
  const kernel = readFileSync(config.boot.kernelPath);
  const buffer = new ArrayBuffer(kernel.byteLength);
  new Uint8Array(buffer).set(kernel);
  return new V86({
    wasm_path: join(dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm"),
    memory_size: config.memoryMiB * bytesPerMiB,
    vga_memory_size: vgaMemoryBytes,
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    multiboot: { buffer },
    cmdline: config.boot.commandLine,
    ...(config.nic === undefined ? {} : { net_device: { type: "virtio" } }),
  });
}

async function main(): Promise<void> {
  const configPath = process.argv[process.argv.indexOf("-config") + 1];
  if (configPath === undefined || !process.argv.includes("-config")) throw new Error("usage: vm-host -config FILE");
  const config = JSON.parse(readFileSync(configPath, "utf8")) as VmHostConfig;
  if (config.format !== 1) throw new Error(`unknown format of ${configPath}`);
  const host = new VmHost(config);
  process.on("SIGTERM", () => host.end("host-signal"));
  process.on("SIGINT", () => {});
  process.on("SIGHUP", () => {});
  process.on("uncaughtException", (error) => host.fail(error));
  process.on("unhandledRejection", (error) => host.fail(error));
  await host.run();
}

await main();
