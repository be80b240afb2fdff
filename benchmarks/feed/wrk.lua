-- Sends the requests of a file in turn and counts the answers by what they are.
-- The file has a request a line: method, path and body, with tabs between them.
local threads, requests, sent = {}, {}, 0
good, degraded, refused, failed = 0, 0, 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  for line in io.lines(arguments[1]) do
    local method, path, body = line:match("^(%S+)\t(%S+)\t(.*)$")
    local headers = {}
    if body == "" then body = nil else headers["Content-Type"] = "application/json" end
    table.insert(requests, wrk.format(method, path, headers, body))
  end
end

function request()
  sent = sent % #requests + 1
  return requests[sent]
end

function response(status, _, body)
  if status == 503 then
    refused = refused + 1
  elseif status < 200 or status > 299 then
    failed = failed + 1
  elseif body:find('"degraded":true', 1, true) then
    degraded = degraded + 1
  else
    good = good + 1
  end
end

function done(summary, latency)
  local counts = {good = 0, degraded = 0, refused = 0, failed = 0}
  for _, thread in ipairs(threads) do
    for name, count in pairs(counts) do counts[name] = count + thread:get(name) end
  end
  local errors = summary.errors
  io.write(string.format(
    '\nload {"seconds": %f, "good": %d, "degraded": %d, "refused": %d, "failed": %d, '
      .. '"p50": %f, "p95": %f, "p99": %f, "slowest": %f}\n',
    summary.duration / 1e6, counts.good, counts.degraded, counts.refused,
    counts.failed + errors.connect + errors.read + errors.write,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3))
end
