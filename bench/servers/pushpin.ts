/**
 * pushpin, a rival: a proxy that holds the lines of a backend (servers/grip-backend.ts), which says
 * so in its answer (GRIP) and publishes over pushpin's control port. Configured for one channel.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const RUNNER = '/usr/bin/pushpin';
const CONNECTION_MANAGER = '/usr/bin/condure';

export function pushpinAbsence(): string | undefined {
  const missing = [RUNNER, CONNECTION_MANAGER].find((path) => !existsSync(path));
  return missing === undefined
    ? undefined
    : `there is no ${missing}: apt-get install -y --no-install-recommends pushpin`;
}

export interface PushpinPorts {
  /** For clients. */
  http: number;
  /** `POST /publish/`. */
  control: number;
  /** Of ZeroMQ; not used, but pushpin binds them and ends where it cannot. */
  push: number;
  subscribe: number;
  command: number;
  /** Of the backend. */
  backend: number;
}

/**
 * The runner, which starts condure (connections), zurl (requests to the backend), pushpin-proxy and
 * pushpin-handler (channels), a process each.
 */
export function pushpinCommand(
  parent: string,
  ports: PushpinPorts,
): { command: string; args: string[] } {
  // Fresh sockets for each visit.
  const directory = join(parent, `pushpin-${ports.http}`);
  for (const name of ['run', 'log'])
    mkdirSync(join(directory, name), { recursive: true, mode: 0o777 });
  const file = join(directory, 'pushpin.conf');
  writeFileSync(join(directory, 'routes'), `* 127.0.0.1:${ports.backend}\n`);
  writeFileSync(file, configuration(directory, ports));
  return { command: RUNNER, args: [`--config=${file}`, '--merge-output'] };
}

/**
 * Its defaults but for ports, paths, the number of connections, and `message_rate` and
 * `message_hwm`: those count deliveries, not events. At their defaults, 2,500 a second and 25,000
 * that wait, 15,000 lines get an event in 6 s, and the rest is dropped without a word; −1 is no
 * limit. `client_buffer_size` as in fanout/pushpin-c1m. Debian's zurl has its sockets elsewhere, so
 * that the runner starts one of its own.
 */
function configuration(directory: string, ports: PushpinPorts): string {
  return `[global]
include={libdir}/internal.conf
rundir=${join(directory, 'run')}
ipc_prefix=bench-
port_offset=0
stats_connection_ttl=600

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${ports.http}
logdir=${join(directory, 'log')}
log_level=1
client_buffer_size=4096
client_maxconn=19000
condure_bin=${CONNECTION_MANAGER}
zurl_bin=zurl

[proxy]
routesfile=routes
debug=false
updates_check=off
sig_key=bench
zurl_out_specs=ipc://{rundir}/{ipc_prefix}zurl-in
zurl_out_stream_specs=ipc://{rundir}/{ipc_prefix}zurl-in-stream
zurl_in_specs=ipc://{rundir}/{ipc_prefix}zurl-out

[handler]
push_in_spec=tcp://127.0.0.1:${ports.push}
push_in_sub_specs=tcp://127.0.0.1:${ports.subscribe}
push_in_sub_connect=false
push_in_http_addr=127.0.0.1
push_in_http_port=${ports.control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://{rundir}/{ipc_prefix}stats
command_spec=tcp://127.0.0.1:${ports.command}
message_rate=-1
message_hwm=-1
connection_subscription_max=20
stats_report_interval=60
stats_format=tnetstring
`;
}
