// Says as JSON what an app on Node's http sees of a request.
'use strict';
const http = require('node:http');

let count = 0;

http.createServer((request, response) => {
  const body = [];
  request.on('data', (part) => body.push(part));
  request.on('end', () => {
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      headers.push([request.rawHeaders[i], request.rawHeaders[i + 1]]);
    }
    for (let i = 0; i < request.rawTrailers.length; i += 2) {
      headers.push([request.rawTrailers[i], request.rawTrailers[i + 1]]);
    }
    const vars = {};
    for (const [name, value] of Object.entries(request.headers)) vars[name] = String(value);
    const cookies = {};
    for (const pair of (request.headers.cookie ?? '').split(';')) {
      const at = pair.indexOf('=');
      if (at > 0) cookies[pair.slice(0, at).trim()] = pair.slice(at + 1).trim();
    }
    const url = new URL(request.url, 'http://app.example');
    const answer = JSON.stringify({
      count: ++count,
      method: request.method, path: url.pathname, query: url.search.slice(1), vars, headers, cookies,
      body: Buffer.concat(body).toString('latin1'),
    });
    response.setHeader('Content-Type', 'application/json');
    response.end(answer);
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
