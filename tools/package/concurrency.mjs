// The checks run two at a time: on more, a small machine measures its own load.

/** Runs `work` on each item, two at a time; rejects with the first error. */
export async function forEachOfTwo(items, work) {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all([worker(), worker()]);
}
