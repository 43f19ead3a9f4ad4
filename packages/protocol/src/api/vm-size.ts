/** Processors and memory that a VM gets, and gives back, while it runs. */
import { z } from "zod";
import { limits } from "../limits.ts";

/** What is read of a specification here. */
export interface SizeWishes {
  readonly vcpus: number;
  readonly memoryMiB: number;
  readonly vcpusMax?: number;
  readonly memoryMiBMax?: number;
}

export const vcpusAboveMax = "is the most that the VM may have, and vcpus is more";
export const memoryAboveMax = `is the most that the VM may have: memoryMiB is not more, and both are multiples of ${limits.vmMemoryStepMiB}`;

export function vcpusFit({ vcpus, vcpusMax = vcpus }: SizeWishes): boolean {
  return vcpus <= vcpusMax;
}

export function memoryFits({ memoryMiB, memoryMiBMax }: SizeWishes): boolean {
  if (memoryMiBMax === undefined) return true;
  return memoryMiB <= memoryMiBMax && [memoryMiB, memoryMiBMax].every((each) => each % limits.vmMemoryStepMiB === 0);
}

const rangeSchema = z.object({ min: z.int().min(1), max: z.int().min(1) });

/** Within these, both ends included, a process changes while it runs. The lower end is what it was started with. */
export const vmHotplugSchema = z.object({
  vcpus: rangeSchema.exactOptional(),
  memoryMiB: rangeSchema.exactOptional(),
});
export type VmHotplug = Readonly<z.infer<typeof vmHotplugSchema>>;

/** What a process that is started now can become; undefined when that is nothing else. */
export function hotplugOf({ vcpus, memoryMiB, vcpusMax, memoryMiBMax }: SizeWishes): VmHotplug | undefined {
  if (vcpusMax === undefined && memoryMiBMax === undefined) return undefined;
  return {
    ...(vcpusMax === undefined ? {} : { vcpus: { min: vcpus, max: vcpusMax } }),
    ...(memoryMiBMax === undefined ? {} : { memoryMiB: { min: memoryMiB, max: memoryMiBMax } }),
  };
}

/** Whether a process can have so much of it without a start. */
export function isWithin(hotplug: VmHotplug | undefined, field: keyof VmHotplug, wanted: number): boolean {
  const range = hotplug?.[field];
  return range !== undefined && wanted >= range.min && wanted <= range.max;
}
