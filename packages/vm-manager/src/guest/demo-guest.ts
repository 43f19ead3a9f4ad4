/**
 * The demo guest: the nano guest with a network card, about 11 KB. On the console it is the nano guest, with further commands
 * (`guest/main.c` lists them); in a network it takes an address by DHCP, answers ping, and serves a page at port 80.
 *
 * It is written in C, and the program stands beside its source in `guest`, so that nobody needs a compiler to run VMs.
 */
import { readFileSync } from "node:fs";

/** From the source as from what is built. */
const path = new URL("../../guest/demo-guest.elf", import.meta.url);

/** The ELF file of the guest. */
export function demoGuestElf(): Uint8Array {
  return new Uint8Array(readFileSync(path));
}
