/** Where the admin endpoint is: at the address that the configuration has for it, which a reload may change. */
import { type Admin, type AdminSource, startAdmin } from './observe/admin.ts';

export type AdminPlace = {
  /** As `Admin` tells it; undefined while there is none. */
  readonly address: () => string | undefined;
  /** Binds `bind` if it is another address than now; until `commit` the old one is there too. Throws ERR_LISTEN. */
  readonly prepare: (bind: string | undefined) => Promise<Move>;
  /** Ends open requests too. */
  readonly close: () => Promise<void>;
};

/** `commit` leaves the old address, where requests under way are still answered; `abort` the new one. */
export type Move = { readonly commit: () => void; readonly abort: () => Promise<void> };

/** Begins at `first`; throws ERR_LISTEN if it cannot be bound. `onMoved` is told the address after each later move. */
export async function openAdminPlace(
  first: string | undefined,
  source: AdminSource,
  onMoved: (address: string | undefined) => void,
): Promise<AdminPlace> {
  let bound = first;
  let current = first === undefined ? undefined : await startAdmin(first, source);
  const leaving = new Set<Admin>();

  function leave(admin: Admin): void {
    leaving.add(admin);
    void admin.leave().then(() => leaving.delete(admin));
  }

  return {
    address: () => current?.address,
    async prepare(bind) {
      if (bind === bound) return { commit() {}, async abort() {} };
      const next = bind === undefined ? undefined : await startAdmin(bind, source);
      return {
        commit() {
          if (current) leave(current);
          [current, bound] = [next, bind];
          onMoved(next?.address);
        },
        async abort() {
          await next?.close();
        },
      };
    },
    async close() {
      await Promise.all([...leaving, ...(current ? [current] : [])].map((admin) => admin.close()));
    },
  };
}
