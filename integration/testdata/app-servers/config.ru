# Says as JSON what a Rack app sees of a request.
require 'json'
require 'rack/request'

count = 0

run(lambda do |env|
  text = ->(value) { value.dup.force_encoding('ISO-8859-1').encode('UTF-8') }
  seen = {
    count: count += 1,
    method: env['REQUEST_METHOD'],
    path: text.call(env['PATH_INFO']),
    query: text.call(env['QUERY_STRING']),
    vars: env.select { |_, value| value.is_a?(String) }.to_h { |name, value| [name, text.call(value)] },
    cookies: Rack::Request.new(env).cookies.to_h { |name, value| [text.call(name), text.call(value.to_s)] },
    body: text.call(env['rack.input'].read)
  }
  [200, { 'Content-Type' => 'application/json' }, [JSON.generate(seen)]]
end)
