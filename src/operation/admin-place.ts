/** Keeps the admin endpoint at its configured address, which a reload may change. */
import type { LoadedConfig } from '../config/load.ts';
import type { SocketRights } from '../net/socket-file.ts';
import { type Admin, startAdmin } from '../observe/admin.ts';
import type { AdminSource } from '../observe/admin-source.ts';

export type AdminPlace = {
  /** The address of the `Admin`; undefined while there is none. */
  readonly address: () => string | undefined;
  /**
   * Binds `admin.bind` if the address changes; until `commit` the old one stays too. A unix socket that stays
   * gets its new permissions at once. Throws ERR_LISTEN.
   */
  readonly prepare: (loaded: LoadedConfig) => Promise<Move>;
  /** Ends open requests too. */
  readonly close: () => Promise<void>;
};

/**
 * `commit` leaves the old address, where requests under way are still answered; `abort` leaves the new one.
 */
export type Move = { readonly commit: () => void; readonly abort: () => Promise<void> };

/**
 * Begins at the address in `first`; throws ERR_LISTEN if it cannot be bound. `onMoved` gets the address after
 * each later move.
 */
export async function openAdminPlace(
  first: LoadedConfig,
  source: AdminSource,
  onMoved: (address: string | undefined) => void,
): Promise<AdminPlace> {
  const open = async ({ bind, rights }: AdminBinding) =>
    bind === undefined ? undefined : await startAdmin(bind, source, { rights });
  let place = placeIn(first);
  let current = await open(place);
  const leaving = new Set<Admin>();

  function leave(admin: Admin): void {
    leaving.add(admin);
    void admin.leave().then(() => leaving.delete(admin));
  }

  async function stay(wanted: AdminBinding): Promise<Move> {
    const admin = current;
    const back = () => admin?.setRights(place.rights);
    try {
      await admin?.setRights(wanted.rights);
    } catch (error) {
      await back()?.catch(() => {});
      throw error;
    }
    return {
      commit() {
        place = wanted;
      },
      async abort() {
        await back();
      },
    };
  }

  return {
    address: () => current?.address,
    async prepare(loaded) {
      const wanted = placeIn(loaded);
      if (wanted.bind === place.bind) return stay(wanted);
      const next = await open(wanted);
      return {
        commit() {
          if (current) leave(current);
          [current, place] = [next, wanted];
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

type AdminBinding = { readonly bind: string | undefined; readonly rights: SocketRights | undefined };

function placeIn({ config, sockets }: LoadedConfig): AdminBinding {
  const bind = config.admin?.bind;
  return { bind, rights: sockets.get(bind ?? '') };
}
