/**
 * Writes docs/images/live-page.png: the live page of a penstock that serves databases for a minute, as Chromium shows it.
 * `npx node test/services/draw-live-page.ts`, after a change to the page.
 */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { type Authority, createAuthority } from '../support/certificates.ts';
import { startPenstock } from '../support/penstock.ts';
import { openPage } from './chromium.ts';

type Ends = { readonly after: (end: () => unknown) => void };

const target = resolve(import.meta.dirname, '../../docs/images/live-page.png');
const size = { width: 1120, height: 1000 };
const admin = '127.0.0.1:9901';
const day = 86_400_000;

const ends: (() => unknown)[] = [];
const t: Ends = { after: (end) => ends.unshift(end) };
try {
  const authority = await createAuthority({ name: 'clients-ca' });
  await startDatabases();
  await startFront(authority);
  const page = await openPage(t, `http://${admin}/`, size);
  await traffic(authority, 70);
  writeFileSync(target, await page.picture());
} finally {
  for (const end of ends) await end();
}

/** Two that answer; there is no third. */
async function startDatabases(): Promise<void> {
  for (const host of ['127.0.0.11', '127.0.0.12']) {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (query) => socket.write(Buffer.alloc(query.length * 9)));
    });
    await new Promise<void>((listening) => server.listen(5432, host, listening));
    t.after(() => server.close());
  }
}

async function startFront(authority: Authority): Promise<void> {
  const orders = await authority.issue({ dns: ['orders.db.example.com'], usage: 'server' });
  const soon = await authority.issue({
    dns: ['reports.db.example.com'],
    usage: 'server',
    notAfter: new Date(Date.now() + 12.5 * day),
  });
  const clientAuth = { authority: 'clients', allow: [{ cn: 'orders-app' }] };
  const config = {
    workers: 2,
    admin: { bind: admin },
    certificates: {
      orders: { cert: 'orders.crt', key: 'orders.key' },
      reports: { cert: 'reports.crt', key: 'reports.key' },
    },
    authorities: { clients: { ca: 'ca.crt', crl: 'ca.crl' } },
    listeners: {
      databases: {
        bind: '127.0.0.1:6432',
        routes: [
          {
            name: 'orders',
            sni: 'orders.db.example.com',
            tls: { certificates: 'orders', client_auth: clientAuth },
            upstream: 'orders',
          },
          {
            name: 'reports',
            sni: 'reports.db.example.com',
            tls: { certificates: 'reports' },
            upstream: 'reports',
          },
        ],
      },
    },
    upstreams: {
      orders: {
        endpoints: ['127.0.0.11:5432', '127.0.0.12:5432', '127.0.0.13:5432'],
        balance: 'least_connections',
        health_check: { type: 'tcp' },
      },
      reports: { endpoints: ['127.0.0.12:5432'], health_check: { type: 'tcp' } },
    },
  };
  const files = {
    'orders.crt': orders.cert,
    'orders.key': orders.key,
    'reports.crt': soon.cert,
    'reports.key': soon.key,
    'ca.crt': authority.cert,
    'ca.crl': await authority.crl([]),
  };
  await startPenstock(t, config, { files });
}

/** For so many seconds, clients of all kinds: most are let in and ask for a while, a few have the wrong name or no certificate. */
async function traffic(authority: Authority, seconds: number): Promise<void> {
  const app = await authority.issue({ cn: 'orders-app', usage: 'client' });
  const stranger = await authority.issue({ cn: 'reports-app', usage: 'client' });
  for (let round = 0; round < seconds * 10; round++) {
    const waves = 3 + 2 * Math.sin(round / 60);
    if (Math.random() * 5 < waves) {
      const isReport = round % 4 === 0;
      client(isReport ? 'reports.db.example.com' : 'orders.db.example.com', isReport ? {} : app);
    }
    if (round % 70 === 3) client('orders.db.example.com', {});
    if (round % 110 === 5) client('orders.db.example.com', stranger);
    if (round % 90 === 7) client('old.db.example.com', app);
    await sleep(100);
  }

  function client(servername: string, credential: { cert?: string; key?: string }): void {
    const { cert, key } = credential;
    const socket = connectTls({
      host: '127.0.0.1',
      port: 6432,
      servername,
      ca: authority.cert,
      ...(cert && key && { cert, key }),
    });
    socket.on('error', () => {});
    const asking = setInterval(() => socket.write(Buffer.alloc(200 + Math.random() * 2000)), 150);
    const leaving = setTimeout(() => socket.end(), 3000 + Math.random() * 25_000);
    const end = (): void => {
      clearInterval(asking);
      clearTimeout(leaving);
      socket.destroy();
    };
    socket.on('data', () => {}).on('end', end);
    t.after(end);
  }
}
