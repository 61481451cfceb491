/**
 * nginx with nchan, a rival: configured for one channel and one worker, as close to the others as
 * possible.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NGINX = '/usr/sbin/nginx';
const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so';

export function nchanAbsence(): string | undefined {
  if (existsSync(NGINX) && existsSync(MODULE)) return undefined;
  return `there is no ${existsSync(NGINX) ? MODULE : NGINX}: apt-get install -y nginx libnginx-mod-nchan`;
}

/**
 * A master and one worker: without a master nchan aborts on the first publish. Its ids are not
 * integers, so the order of events is compared with that of publishing; its streams are not
 * chunked.
 */
export function nchanCommand(
  directory: string,
  port: number,
  path: string,
): { command: string; args: string[] } {
  const file = join(directory, 'nginx.conf');
  writeFileSync(file, configuration(directory, port, path));
  return { command: NGINX, args: ['-c', file, '-p', directory, '-e', 'stderr'] };
}

function configuration(directory: string, port: number, path: string): string {
  const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(directory, kind)};`,
  );
  return `load_module ${MODULE};
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${join(directory, 'nginx.pid')};
error_log stderr warn;
events { worker_connections 19900; use epoll; }
http {
  access_log off;
  ${temporaryPaths.join('\n  ')}
  keepalive_requests 1000000000;
  nchan_shared_memory_size 512m;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = ${path} {
      nchan_pubsub;
      nchan_channel_id bench;
      nchan_message_buffer_length 1024;
      nchan_subscriber_first_message newest;
    }
  }
}
`;
}
