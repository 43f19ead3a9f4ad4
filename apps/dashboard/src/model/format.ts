/** Numbers and times as people read them. */

export function mib(value: number): string {
  return value >= 10_240
    ? `${(value / 1_024).toFixed(0)} GiB`
    : value >= 1_024
      ? `${(value / 1_024).toFixed(1)} GiB`
      : `${value} MiB`;
}

export function bytes(value: number): string {
  return value < 1024 * 1024 ? `${Math.ceil(value / 1024)} KiB` : mib(Math.round(value / 1024 / 1024));
}

export function rtt(ms: number | null): string {
  return ms === null ? "–" : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** As `2026-01-31 14:05:09`, in the time of the reader. */
export function time(unixMs: number): string {
  const date = new Date(unixMs);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function seconds(ms: number): string {
  return `${Math.max(0, Math.ceil(ms / 1_000))} s`;
}

export function rate(perSecond: number): string {
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}
