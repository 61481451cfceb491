/** What all workers share, by name, as the supervisor lends it (workers/shares.ts). */
import type { Pool } from './shares.js';
import type { WorkerProcess } from './worker-process.js';

export type Pools = Readonly<Record<string, Pool<WorkerProcess>>>;

export class Lending {
  readonly #pools: Pools;
  readonly #workers: Iterable<WorkerProcess>;

  constructor(pools: Pools, workers: Iterable<WorkerProcess>) {
    this.#pools = pools;
    this.#workers = workers;
  }

  /** What a worker begins with, by name: an equal part of each, of `count` workers. */
  begin(worker: WorkerProcess, count: number): Readonly<Record<string, number>> {
    return Object.fromEntries(
      Object.entries(this.#pools).map(([name, pool]) => [
        name,
        pool.lend(worker, Math.ceil(pool.total / count)),
      ]),
    );
  }

  /** Lends a worker up to `count` more, which it is told; without any the others are asked. */
  lend(name: string, worker: WorkerProcess, count: number): void {
    const pool = this.#pools[name];
    if (pool === undefined) return;
    const lent = pool.lend(worker, count);
    worker.link.tell('lent', { pool: name, count: lent });
    if (lent > 0) return;
    for (const other of this.#workers) if (other !== worker) other.link.tell('recall', name);
  }

  /** A worker has given back so many. */
  giveBack(name: string, worker: WorkerProcess, count: number): void {
    const pool = this.#pools[name];
    if (pool !== undefined) this.#lendNext(name, pool, pool.giveBack(worker, count));
  }

  /** A worker has ended: what it had is free. */
  gone(worker: WorkerProcess): void {
    for (const [name, pool] of Object.entries(this.#pools))
      this.#lendNext(name, pool, pool.gone(worker));
  }

  /** Half of what is free, to one that could not be given all. */
  #lendNext(name: string, { free }: Pool<WorkerProcess>, next: WorkerProcess | undefined): void {
    if (next !== undefined) this.lend(name, next, Math.ceil(free / 2));
  }
}
