import { open } from "node:fs/promises";

/**
 * Flips bit `bit` (0 to 7) of the byte at `at`, in place. LevelDB maps its tables into memory: to write such a file
 * anew cuts it to nothing first, and a database that reads it in that moment ends its process with SIGBUS.
 */
export async function flipBit(path: string, at: number, bit = 0): Promise<void> {
  const file = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    const { bytesRead } = await file.read(byte, 0, 1, at);
    if (bytesRead !== 1) throw new Error(`${path} has no byte ${at}`);
    byte[0] = (byte[0] ?? 0) ^ (1 << bit);
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
}
