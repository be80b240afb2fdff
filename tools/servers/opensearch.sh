#!/usr/bin/env bash
# OpenSearch with the k-NN plugin, one node, laid out from their Maven artifacts.
NAME=opensearch PORT_SETTING=NEARFEED_OPENSEARCH_PORT PORT=${NEARFEED_OPENSEARCH_PORT:-19200}
source "$(dirname "$0")/process.sh"
# The plugin's zip must be of the server's version; Maven Central has it for few of them.
: "${OPENSEARCH_VERSION:=2.19.1}" "${OPENSEARCH_KNN_VERSION:=$OPENSEARCH_VERSION.0}" "${OPENSEARCH_LOG4J_VERSION:=2.21.0}"
TRANSPORT_PORT=${NEARFEED_OPENSEARCH_TRANSPORT_PORT:-$((PORT + 100))}
HEAP=${NEARFEED_OPENSEARCH_HEAP:-1g}
SERVER=$HOME_DIR/server-$OPENSEARCH_VERSION
KNN=$SERVER/plugins/opensearch-knn

install_() {
  need java "install a Java development kit of version 17 (Debian: openjdk-17-jdk-headless)."
  need javac "install a Java development kit of version 17 (Debian: openjdk-17-jdk-headless)."
  need python3 "install Python."
  [ -e "$SERVER/.complete" ] && return
  need mvn "install Maven (Debian: maven)."
  say "fetches version $OPENSEARCH_VERSION from Maven Central"
  rm -rf "$SERVER" && mkdir -p "$SERVER"/{lib,main,config,modules} "$KNN"
  lay_out >"$HOME_DIR/install.log" 2>&1 ||
    { tail -5 "$HOME_DIR/install.log" >&2; fail "laying it out failed; the output is $HOME_DIR/install.log."; }
  touch "$SERVER/.complete"
}

lay_out() {
  local group=org.opensearch plugin=org.opensearch.plugin version=$OPENSEARCH_VERSION
  fetch "$SERVER/lib" jar "$group:opensearch:$version" "$group:opensearch-plugin-classloader:$version" \
    "org.apache.logging.log4j:log4j-core:$OPENSEARCH_LOG4J_VERSION" &&
    module transport-netty4 transport-netty4-client "$group.transport.Netty4Plugin" &&
    module lang-painless lang-painless "$group.painless.PainlessPlugin" &&
    fetch "$HOME_DIR/zip" zip "$plugin:opensearch-knn:$OPENSEARCH_KNN_VERSION" &&
    python3 -m zipfile -e "$HOME_DIR/zip/opensearch-knn-$OPENSEARCH_KNN_VERSION.zip" "$KNN" &&
    sed -i 's/^extended.plugins=.*/extended.plugins=lang-painless/' "$KNN/plugin-descriptor.properties" &&
    main_class >"$SERVER/Main.java" && javac -nowarn -cp "$SERVER/lib/*" -d "$SERVER/main" "$SERVER/Main.java"
}

fetch() { # FOLDER jar|zip GROUP:ARTIFACT:VERSION…, with what they depend on
  local folder=$1 type=$2 pom=$HOME_DIR/pom.xml artifact group name version
  shift 2
  {
    echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    echo '<groupId>nearfeed</groupId><artifactId>opensearch</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
    for artifact in "$@"; do
      IFS=: read -r group name version <<<"$artifact"
      echo "<dependency><groupId>$group</groupId><artifactId>$name</artifactId><version>$version</version><type>$type</type></dependency>"
    done
    echo '</dependencies></project>'
  } >"$pom"
  mvn --batch-mode --quiet --no-transfer-progress --file "$pom" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder"
}

# A module may not hold a jar that the server has: its loader refuses the second one.
module() { # NAME ARTIFACT CLASS
  local folder=$SERVER/modules/$1 jar
  fetch "$folder" jar "org.opensearch.plugin:$2:$OPENSEARCH_VERSION" || return
  for jar in "$folder"/*.jar; do
    [ ! -e "$SERVER/lib/$(basename "$jar")" ] || rm "$jar"
  done
  printf '%s\n' "name=$1" "description=$1" "version=$OPENSEARCH_VERSION" "opensearch.version=$OPENSEARCH_VERSION" \
    java.version=11 "classname=$3" has.native.controller=false >"$folder/plugin-descriptor.properties"
}

# The server's own node with its modules and plugins, without the checks that want a system service.
main_class() {
  cat <<'JAVA'
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

public class Main {
    public static void main(String[] arguments) throws Exception {
        String home = arguments[0];
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            Settings.builder().put("path.home", home).build(), Map.of(), Path.of(home, "config"), () -> "nearfeed");
        LogConfigurator.setNodeName("nearfeed");
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment);
        CountDownLatch stopped = new CountDownLatch(1);
        Node node = new Node(environment);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try { node.close(); } catch (Exception error) { error.printStackTrace(); }
            stopped.countDown();
        }));
        node.start();
        stopped.await();
    }
}
JAVA
}

configuration() {
  cat <<YAML
cluster.name: nearfeed
node.name: nearfeed
path.data: $DATA
path.logs: $HOME_DIR/logs
network.host: 127.0.0.1
http.port: $PORT
transport.port: $TRANSPORT_PORT
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
YAML
}

logging() {
  cat <<'PROPERTIES'
appender.console.type=Console
appender.console.name=Console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d][%p][%c{1.}] %m%n
rootLogger.level=info
rootLogger.appenderRef.console.ref=Console
PROPERTIES
}

launch() {
  configuration >"$SERVER/config/opensearch.yml"
  logging >"$SERVER/config/log4j2.properties"
  mkdir -p "$HOME_DIR/tmp"
  nohup java "-Xms$HEAP" "-Xmx$HEAP" -XX:+UseG1GC -Xss1m -Djava.awt.headless=true -Dfile.encoding=UTF-8 \
    -Djava.io.tmpdir="$HOME_DIR/tmp" -Djna.nosys=true -Djna.tmpdir="$HOME_DIR/tmp" \
    -XX:-OmitStackTraceInFastThrow -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true \
    -Dio.netty.recycler.maxCapacityPerThread=0 -Dio.netty.allocator.numDirectArenas=0 \
    -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true \
    -cp "$SERVER/main:$SERVER/lib/*" Main "$SERVER" >>"$LOG_FILE" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
}

ready() {
  curl -sf -m 2 "http://127.0.0.1:$PORT/_cluster/health?wait_for_status=yellow&timeout=1s" >/dev/null
}

dispatch "$@"
