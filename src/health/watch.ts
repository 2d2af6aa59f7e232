/**
 * An upstream whose endpoints are checked: tracks which ones there are, by the
 * latest configuration and look-up.
 */
import type { Endpoint } from '../upstream/endpoint.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { Subject } from './check-once.ts';
import { Checked, pause, type Surroundings, settingsOf } from './checked.ts';

export class Watch {
  readonly #surroundings: Surroundings;
  /** By label. */
  readonly #endpoints = new Map<string, Checked>();
  #subject: Subject;
  #stop = new AbortController();

  constructor(subject: Subject, surroundings: Surroundings) {
    this.#subject = subject;
    this.#surroundings = surroundings;
    void this.#keepListed();
  }

  /** Continues with another configuration of the same upstream. */
  follow(subject: Subject): void {
    const before = JSON.stringify(settingsOf(this.#subject));
    this.#subject = subject;
    this.#stop.abort();
    this.#stop = new AbortController();
    void this.#keepListed();
    if (JSON.stringify(settingsOf(subject)) === before) return;
    for (const checked of this.#endpoints.values()) checked.restart();
  }

  stop(): void {
    this.#stop.abort();
    for (const checked of this.#endpoints.values()) checked.stop();
  }

  reports(now: number): EndpointReport[] {
    return [...this.#endpoints.values()].map((checked) => checked.report(now));
  }

  /** Finds out which endpoints there are; with `each_address`, at regular intervals. */
  async #keepListed(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { upstream } = this.#subject;
      const patience = AbortSignal.any([signal, AbortSignal.timeout(listTimeoutMs)]);
      const endpoints = await upstream.listed(patience).catch(() => []);
      if (signal.aborted) return;
      this.#adopt(endpoints);
      if (!upstream.config.resolve.each_address) return;
      await pause(settingsOf(this.#subject).interval, signal);
    }
  }

  #adopt(endpoints: readonly Endpoint[]): void {
    const labels = new Set(endpoints.map(({ label }) => label));
    let changed = false;
    for (const [label, checked] of this.#endpoints) {
      if (labels.has(label)) continue;
      checked.stop();
      changed = this.#endpoints.delete(label);
    }
    for (const endpoint of endpoints) {
      const known = this.#endpoints.get(endpoint.label);
      if (known) known.endpoint = endpoint;
      if (known) continue;
      const checked = new Checked(endpoint, () => this.#subject, this.#surroundings);
      this.#endpoints.set(endpoint.label, checked);
      changed = true;
    }
    if (changed) this.#surroundings.changed();
  }
}

const listTimeoutMs = 5000;
