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

/** Why so many virtual CPUs do not go with the most that the VM may have; undefined when they do. */
export function vcpusMisfit({ vcpus, vcpusMax = vcpus }: SizeWishes): string | undefined {
  return vcpus <= vcpusMax ? undefined : `${vcpus} are more than the ${vcpusMax} that the VM may have (vcpusMax)`;
}

/** The same of memory; each of a VM that grows is a multiple of a step. */
export function memoryMisfit({ memoryMiB, memoryMiBMax }: SizeWishes): string | undefined {
  if (memoryMiBMax === undefined) return undefined;
  if (memoryMiB > memoryMiBMax) {
    return `${memoryMiB} MiB are more than the ${memoryMiBMax} MiB that the VM may have (memoryMiBMax)`;
  }
  const step = limits.vmMemoryStepMiB;
  const odd = [memoryMiB, memoryMiBMax].find((each) => each % step !== 0);
  if (odd === undefined) return undefined;
  return `${odd} MiB is no multiple of ${step} MiB, as the memory of a VM with memoryMiBMax is, and that itself`;
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
