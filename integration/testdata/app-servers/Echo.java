import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Says as JSON what a servlet sees of a request. */
public class Echo extends HttpServlet {
    private final AtomicInteger count = new AtomicInteger();

    @Override
    protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String body = new String(request.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1);
        List<String> headers = new ArrayList<>();
        for (String name : Collections.list(request.getHeaderNames())) {
            for (String value : Collections.list(request.getHeaders(name))) {
                headers.add("[" + quote(name) + "," + quote(value) + "]");
            }
        }
        if (request.isTrailerFieldsReady()) {
            for (Map.Entry<String, String> field : request.getTrailerFields().entrySet()) {
                headers.add("[" + quote(field.getKey()) + "," + quote(field.getValue()) + "]");
            }
        }
        Map<String, String> cookies = new TreeMap<>();
        if (request.getCookies() != null) {
            for (Cookie cookie : request.getCookies()) {
                cookies.put(cookie.getName(), cookie.getValue());
            }
        }
        Map<String, String> vars = new TreeMap<>();
        vars.put("REMOTE_USER", request.getRemoteUser());
        vars.put("AUTH_TYPE", request.getAuthType());
        vars.put("REQUEST_URI", request.getRequestURI());
        response.setContentType("application/json");
        response.setCharacterEncoding("UTF-8");
        // The servlet is the default one: its path is what the container routes by.
        response.getWriter().write("{\"count\":" + count.incrementAndGet() + ",\"method\":" + quote(request.getMethod())
            + ",\"path\":" + quote(request.getServletPath())
            + ",\"query\":" + quote(request.getQueryString())
            + ",\"vars\":" + object(vars)
            + ",\"headers\":[" + String.join(",", headers) + "]"
            + ",\"cookies\":" + object(cookies)
            + ",\"body\":" + quote(body) + "}");
    }

    private static String object(Map<String, String> values) {
        List<String> pairs = new ArrayList<>();
        values.forEach((name, value) -> pairs.add(quote(name) + ":" + quote(value)));
        return "{" + String.join(",", pairs) + "}";
    }

    private static String quote(String text) {
        if (text == null) {
            return "\"\"";
        }
        StringBuilder b = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
                b.append(String.format("\\u%04x", (int) c));
            } else {
                b.append(c);
            }
        }
        return b.append('"').toString();
    }
}
