/**
 * The clients that are logged in, by the names that a KILL or a second login of the same program may have for
 * them.
 */
import type { Session, Sessions } from '../protocol.ts';
import { keepThreadId } from './thread-ids.ts';

export function createSessions<S extends Session>(): Sessions<S> {
  const byName = new Map<string, Set<S>>();
  return {
    add(session, client) {
      // A client that was passed through has logged in unseen.
      if (session.alias === undefined) return () => {};
      const names = session.alias.names.map((name) => `${client} ${name}`);
      const giveBack = keepThreadId(Number(session.alias.names[0]));
      for (const name of names) byName.set(name, (byName.get(name) ?? new Set()).add(session));
      return () => {
        giveBack();
        for (const name of names) {
          const sessions = byName.get(name);
          sessions?.delete(session);
          if (sessions?.size === 0) byName.delete(name);
        }
      };
    },
    concerned: (client, name) => [...(byName.get(`${client} ${name.toString()}`) ?? [])].slice(0, enough),
  };
}

/** Sessions with one name: whoever asks goes to one of them. */
const enough = 8;
