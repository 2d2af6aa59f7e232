/**
 * The rights of the unix sockets that listeners have. node:cluster binds them, in this process, while workers prepare; they get
 * their rights before any worker serves. Until then nobody can connect but who runs penstock.
 */
import { lstat } from 'node:fs/promises';
import type { LoadedConfig } from '../config/load.ts';
import { type FileRights, giveRightsAsked } from '../net/socket-file.ts';
import { createTurns } from '../process/turns.ts';
import { describeStartFaults } from '../worker/start-faults.ts';

/** A file as it was made; `asked`: it has been given other rights. */
type Made = { readonly file: string; readonly rights: FileRights; asked: boolean };

export class UnixSockets {
  readonly #umask = currentUmask();
  readonly #made = new Map<string, Made>();
  /** One configuration at a time: workers that start side by side ask for the same. */
  readonly #inTurn = createTurns();
  #kept: LoadedConfig | undefined;
  #steps = 0;

  /**
   * Gives the sockets of a configuration their rights, once `prepare` has had workers bind them and resolved with no fault; one
   * that has lost its own gets back those that it was made with. On a fault all have what they had with the one that is kept.
   */
  async open(loaded: LoadedConfig, prepare: () => Promise<readonly string[]>): Promise<readonly string[]> {
    const refused = await this.#closed(loaded, prepare);
    const faults = refused.length > 0 ? refused : await this.#openAll(loaded);
    if (faults.length > 0 && this.#kept) await this.#openAll(this.#kept);
    return faults;
  }

  keep(loaded: LoadedConfig): void {
    this.#kept = loaded;
  }

  /** Runs a step in which workers bind: what they bind, nobody but the user of this process can write to. */
  async #closed<T>(loaded: LoadedConfig, step: () => Promise<T>): Promise<T> {
    if (loaded.sockets.size === 0) return step();
    this.#steps += 1;
    process.umask(this.#umask | 0o022);
    try {
      return await step();
    } finally {
      this.#steps -= 1;
      if (this.#steps === 0) process.umask(this.#umask);
    }
  }

  async #openAll(loaded: LoadedConfig): Promise<readonly string[]> {
    const addresses = Object.values(loaded.config.listeners).flatMap(({ bind }) => bind);
    const unix = addresses.filter((address) => address.startsWith('unix:'));
    const open = (address: string) => this.#openOne(address, loaded);
    const faults = await this.#inTurn(() => Promise.all(unix.map(open)));
    return faults.flat();
  }

  async #openOne(address: string, { sockets }: LoadedConfig): Promise<readonly string[]> {
    const path = address.slice('unix:'.length);
    const found = await this.#look(path);
    if (found === undefined) return [];
    const { it, isNew } = found;
    const asked = sockets.get(address);
    // What somebody else has changed by hand is left alone.
    if (asked === undefined && !isNew && !it.asked) return [];
    it.asked = asked !== undefined;
    return giveRightsAsked(path, it.rights, asked).then(() => [], describeStartFaults);
  }

  /** undefined: it is not there, so nobody can connect. */
  async #look(path: string): Promise<{ it: Made; isNew: boolean } | undefined> {
    const stats = await lstat(path).catch(() => undefined);
    if (stats === undefined) return undefined;
    const { ino, birthtimeMs, uid, gid } = stats;
    const file = `${ino} ${birthtimeMs}`;
    const known = this.#made.get(path);
    if (known?.file === file) return { it: known, isNew: false };
    const it: Made = { file, rights: { mode: 0o777 & ~this.#umask, uid, gid }, asked: false };
    this.#made.set(path, it);
    return { it, isNew: true };
  }
}

/** To read it, it has to be set. */
function currentUmask(): number {
  const umask = process.umask(0o022);
  process.umask(umask);
  return umask;
}
