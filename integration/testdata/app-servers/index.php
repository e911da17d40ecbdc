<?php
// Says as JSON what a PHP app sees of a request, by FastCGI and by PHP's own server.
$headers = [];
foreach (getallheaders() as $name => $value) {
    $headers[] = [(string) $name, $value];
}
$plain = fn ($values) => (object) array_filter(array_map(fn ($v) => is_array($v) ? json_encode($v) : $v, $values), 'is_string');
header('Content-Type: application/json');
echo json_encode([
    'method' => $_SERVER['REQUEST_METHOD'],
    'path' => (string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH),
    'query' => $_SERVER['QUERY_STRING'] ?? '',
    'vars' => $plain($_SERVER + ['getenv HTTP_PROXY' => getenv('HTTP_PROXY')]),
    'headers' => $headers,
    'cookies' => $plain($_COOKIE),
    'body' => file_get_contents('php://input'),
], JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR);
