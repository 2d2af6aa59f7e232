/**
 * The manifest in deploy/kubernetes/ is sound where nothing but a cluster would tell otherwise: the configuration in it loads
 * without faults or warnings, every file that it names is in a mounted secret, none by subPath (such are never updated), the time
 * that Kubernetes gives a pod is longer than what its drain may take, probes and ports meet, labels select the pods, and
 * the pod runs without root, capabilities or a file system to write to.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { LoadedConfig } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';

type Labels = Record<string, string>;
type Probe = { httpGet: { path: string; port: string } };
type Container = {
  ports: { name: string; containerPort: number }[];
  securityContext: object;
  volumeMounts: { name: string; mountPath: string; readOnly: boolean; subPath?: string }[];
  startupProbe: Probe;
  readinessProbe: Probe;
  livenessProbe: Probe;
  lifecycle: { preStop: { sleep: { seconds: number } } };
};
type Pod = {
  automountServiceAccountToken: boolean;
  terminationGracePeriodSeconds: number;
  securityContext: { runAsNonRoot: boolean; seccompProfile: object };
  containers: [Container];
  volumes: {
    name: string;
    secret?: { secretName: string; defaultMode: number };
    configMap?: { name: string };
  }[];
};
type Resource = {
  kind: string;
  metadata: { name: string; labels: Labels };
  data: Record<string, string>;
  spec: {
    selector: Labels & { matchLabels: Labels };
    ports: { targetPort: string }[];
    template: { metadata: { labels: Labels }; spec: Pod };
  };
};

type Policy = {
  podSelector: { matchLabels: Labels };
  policyTypes: string[];
  ingress: { ports: { port: string }[] }[];
  egress: {
    to: { namespaceSelector: { matchLabels: Labels } }[];
    ports: { port: number; protocol?: string }[];
  }[];
};

const manifest = new URL('../../deploy/kubernetes/penstock.yaml', import.meta.url);
const documents = parseAllDocuments(readFileSync(manifest, 'utf8'), { strict: true });
const resources = new Map(documents.map((it) => it.toJS() as Resource).map((it) => [it.kind, it]));
const deployment = resources.get('Deployment')!.spec; // the first test says if it is missing
const pod = deployment.template.spec;
const [container] = pod.containers;
const directory = temporaryDirectory({ after: (cleanup: () => void) => after(cleanup) });
let loaded: LoadedConfig;

before(async () => {
  loaded = await loadConfigMap();
});

/** Loads the configuration with a certificate in the place of each secret. */
async function loadConfigMap(): Promise<LoadedConfig> {
  const text = resources.get('ConfigMap')!.data['penstock.yaml']!.replaceAll(' /tls/', ` ${directory}/tls/`);
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['orders.db.example.com'], usage: 'server' });
  const contents = { 'tls.crt': own.chain, 'tls.key': own.key, 'ca.crt': authority.cert };
  for (const [, file = ''] of text.matchAll(/ (\S+\/tls\/[^, }]+)/g)) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, contents[file.split('/').at(-1) as keyof typeof contents], { mode: 0o600 });
  }
  writeFileSync(join(directory, 'penstock.yaml'), text);
  return loadConfig(join(directory, 'penstock.yaml'), {});
}

test('it is YAML without faults, and has what it takes', () => {
  assert.deepEqual(
    documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]),
    [],
  );
  assert.deepEqual(
    [...resources.keys()],
    ['ConfigMap', 'Deployment', 'Service', 'PodDisruptionBudget', 'NetworkPolicy'],
  );
});

test('its configuration has neither faults nor warnings', () => {
  assert.deepEqual(loaded.warnings, []);
});

test('every file of the configuration is in a mounted secret that is updated', () => {
  const mounts = new Map(container.volumeMounts.map((mount) => [mount.mountPath, mount]));
  for (const file of loaded.files) {
    const place = dirname(file.slice(file.indexOf('/tls/')));
    const mount = mounts.get(place);
    assert.ok(mount, `${place} is not mounted`);
    assert.equal(mount.subPath, undefined);
    const volume = pod.volumes.find(({ name }) => name === mount.name);
    // YAML 1.1 and 1.2 differ on 0440, so the number is decimal.
    assert.equal(volume?.secret?.defaultMode, 0o440, `${mount.name} is readable by the pod's group`);
  }
  assert.ok(container.volumeMounts.every(({ readOnly }) => readOnly));
  assert.equal(mounts.get('/etc/penstock')?.name, 'config');
  const used = container.volumeMounts.map(({ name }) => name);
  assert.deepEqual(pod.volumes.map(({ name }) => name).sort(), used.sort());
});

test('no mount is within another: the kubelet could not make its place in a read-only one', () => {
  const paths = container.volumeMounts.map(({ mountPath }) => mountPath);
  for (const path of paths) assert.ok(!paths.some((other) => other.startsWith(`${path}/`)), path);
});

test('the pod gets more time than the drain may take', () => {
  const drainMs = loaded.config.shutdown.grace + container.lifecycle.preStop.sleep.seconds * 1000;
  assert.ok(pod.terminationGracePeriodSeconds * 1000 >= drainMs + 10_000);
});

test('ports and probes meet the configuration', () => {
  const ports = new Map(container.ports.map(({ name, containerPort }) => [name, `:${containerPort}`]));
  assert.equal(ports.get('admin'), loaded.config.admin?.bind);
  assert.deepEqual([ports.get('postgres')], loaded.config.listeners['databases']?.bind);
  const { startupProbe, readinessProbe, livenessProbe } = container;
  const asked = [startupProbe, readinessProbe, livenessProbe].map(({ httpGet }) => httpGet);
  assert.deepEqual(asked, [
    { path: '/readyz', port: 'admin' },
    { path: '/readyz', port: 'admin' },
    { path: '/healthz', port: 'admin' },
  ]);
  assert.deepEqual(
    resources.get('Service')?.spec.ports.map(({ targetPort }) => targetPort),
    ['postgres'],
  );
});

test('selectors select the pods', () => {
  const { labels } = deployment.template.metadata;
  assert.deepEqual(deployment.selector.matchLabels, labels);
  assert.deepEqual(resources.get('Service')?.spec.selector, labels);
  assert.deepEqual(resources.get('PodDisruptionBudget')?.spec.selector.matchLabels, labels);
});

test('the network policy lets clients in, and penstock out to its upstreams and to the name server', () => {
  const { podSelector, policyTypes, ingress, egress } = resources.get('NetworkPolicy')!
    .spec as unknown as Policy;
  assert.deepEqual(podSelector.matchLabels, deployment.template.metadata.labels);
  assert.deepEqual(policyTypes, ['Ingress', 'Egress']);
  const names = container.ports.map(({ name }) => name);
  assert.deepEqual(
    ingress.flatMap(({ ports }) => ports.map(({ port }) => port)),
    names,
  );
  const endpoints = Object.values(loaded.config.upstreams).flatMap((upstream) => upstream.endpoints);
  const reached = endpoints.map(({ address }) =>
    /^[\w-]+\.(?<namespace>[\w-]+)\.svc\..*:(?<port>\d+)$/.exec(address),
  );
  for (const match of reached) {
    const { namespace = '', port = '' } = match?.groups ?? {};
    const rule = egress.find(({ ports }) => ports.some((one) => String(one.port) === port));
    assert.equal(rule?.to[0]?.namespaceSelector.matchLabels['kubernetes.io/metadata.name'], namespace);
  }
  assert.deepEqual(
    egress.at(-1)?.ports.map(({ port, protocol }) => `${port}/${protocol}`),
    ['53/UDP', '53/TCP'],
  );
});

test('the pod may do nothing that it need not', () => {
  assert.deepEqual(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
  assert.equal(pod.securityContext.runAsNonRoot, true);
  assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' });
  assert.equal(pod.automountServiceAccountToken, false);
});
