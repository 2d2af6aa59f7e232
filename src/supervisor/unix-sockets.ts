/**
 * Sets the permissions of listeners' unix sockets. node:cluster binds them in this process while workers
 * prepare; they get their permissions before any worker serves. Until then only penstock's own user can
 * connect.
 */
import { lstat } from 'node:fs/promises';
import type { LoadedConfig } from '../config/load.ts';
import { type FileRights, giveRightsAsked } from '../net/socket-file.ts';
import { createTurns } from '../process/turns.ts';
import { describeStartFaults } from '../worker/start-faults.ts';

/** A file as it was created; `asked` means that it has been given other permissions. */
type Made = { readonly file: string; readonly rights: FileRights; asked: boolean };

export class UnixSockets {
  readonly #umask = currentUmask();
  readonly #made = new Map<string, Made>();
  /** One configuration at a time, since workers that start in parallel ask for the same. */
  readonly #inTurn = createTurns();
  #kept: LoadedConfig | undefined;
  #steps = 0;

  /**
   * Gives the sockets of a configuration their permissions, after `prepare` has made workers bind them
   * without a fault. A socket whose configured permissions were removed gets back those it was created with.
   * On a fault all keep the permissions of the configuration that stays.
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

  /** Runs a step in which workers bind sockets, so that only the user of this process can write to them. */
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
    // Leave alone what someone else has changed by hand.
    if (asked === undefined && !isNew && !it.asked) return [];
    it.asked = asked !== undefined;
    return giveRightsAsked(path, it.rights, asked).then(() => [], describeStartFaults);
  }

  /** undefined if the file does not exist, so that no one can connect. */
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

/** The umask can only be read by setting it. */
function currentUmask(): number {
  const umask = process.umask(0o022);
  process.umask(umask);
  return umask;
}
