/**
 * The network card of an embedded VM: virtio, whose frames go over a socket to the switch of the node, framed as QEMU's `-netdev
 * stream` does. A frame that the other side has no room for is lost, as on a wire; neither the guest nor the switch fills memory.
 */
import { assert } from "@blixard/common";
import type { V86 } from "v86";
import { FrameReader, withLength } from "../network/frame-reader.ts";
import { OneClientServer } from "./one-client-server.ts";

/** Without offloads a card takes no more: an Ethernet header and 1,500 bytes. */
const frameBytesMax = 1_514;
/** Frames that the switch did not read yet; more are lost. */
const clientBacklogBytesMax = 1024 * 1024;

/** What v86 has inside and its types do not list. */
interface EmulatorParts {
  readonly bus: { send(name: string, value: unknown): void };
  readonly v86: { readonly cpu: { readonly devices: { readonly virtio_net?: VirtioNet } } };
}

interface VirtioNet {
  mac: Uint8Array;
  readonly virtio: { readonly queues: readonly { has_request(): boolean }[] };
}

export class NetworkCard {
  readonly #emulator: EmulatorParts;
  readonly #mac: Uint8Array;
  readonly #server: OneClientServer;

  constructor(emulator: V86, mac: string) {
    this.#emulator = emulator as unknown as EmulatorParts;
    this.#mac = Buffer.from(mac.replaceAll(":", ""), "hex");
    this.#server = new OneClientServer((socket) => {
      const reader = new FrameReader();
      socket.on("data", (data: Buffer) => {
        try {
          for (const frame of reader.push(data)) this.#toGuest(frame.subarray(4));
        } catch {
          // What follows in the stream cannot be read any more; the switch connects anew.
          socket.destroy();
        }
      });
    });
    emulator.add_listener("net0-send", (frame: Uint8Array) => this.#fromGuest(frame));
  }

  /** Once the machine is made and before it runs: v86 makes up a MAC address. */
  plugIn(): void {
    this.#device().mac = this.#mac;
  }

  async listen(descriptor: number): Promise<void> {
    await this.#server.listen(descriptor);
  }

  close(): void {
    this.#server.close();
  }

  #toGuest(frame: Uint8Array): void {
    // v86 complains on its standard output when the guest has no buffer free.
    if (frame.length > frameBytesMax || this.#device().virtio.queues[0]?.has_request() !== true) return;
    this.#emulator.bus.send("net0-receive", frame);
  }

  #fromGuest(frame: Uint8Array): void {
    const { client } = this.#server;
    if (client === undefined || frame.length === 0 || frame.length > frameBytesMax) return;
    if (client.writableLength < clientBacklogBytesMax) client.write(withLength(Buffer.from(frame)));
  }

  #device(): VirtioNet {
    const device = this.#emulator.v86.cpu.devices.virtio_net;
    assert(device !== undefined, "v86 has made its network card");
    return device;
  }
}
