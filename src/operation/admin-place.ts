/** Where the admin endpoint is: at the address that the configuration has for it, which a reload may change. */
import type { LoadedConfig } from '../config/load.ts';
import type { SocketRights } from '../net/socket-file.ts';
import { type Admin, type AdminSource, startAdmin } from '../observe/admin.ts';

export type AdminPlace = {
  /** As `Admin` tells it; undefined while there is none. */
  readonly address: () => string | undefined;
  /**
   * Binds `admin.bind` if it is another address than now; until `commit` the old one is there too. The file of a unix socket
   * that stays has its new rights at once. Throws ERR_LISTEN.
   */
  readonly prepare: (loaded: LoadedConfig) => Promise<Move>;
  /** Ends open requests too. */
  readonly close: () => Promise<void>;
};

/** `commit` leaves the old address, where requests under way are still answered; `abort` the new one. */
export type Move = { readonly commit: () => void; readonly abort: () => Promise<void> };

/** Begins where `first` has it; throws ERR_LISTEN if it cannot be bound. `onMoved` gets the address after each later move. */
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
