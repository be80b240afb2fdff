#!/usr/bin/env bash
# Apache Kafka, one node in KRaft mode, from its Maven artifacts.
NAME=kafka PORT_SETTING=NEARFEED_KAFKA_PORT PORT=${NEARFEED_KAFKA_PORT:-19092}
source "$(dirname "$0")/process.sh"
CONTROLLER_PORT=${NEARFEED_KAFKA_CONTROLLER_PORT:-$((PORT + 1))}
LIBRARIES=$HOME_DIR/libraries-$KAFKA_VERSION
LOGGING=-Dlog4j2.configurationFile=$HOME_DIR/log4j2.properties

install_() {
  need java "install a Java runtime of version 17 or newer (Debian: openjdk-17-jre-headless)."
  [ -e "$LIBRARIES/.complete" ] && return
  need mvn "install Maven (Debian: maven)."
  say "fetches version $KAFKA_VERSION from Maven Central"
  mkdir -p "$HOME_DIR"
  artifacts >"$HOME_DIR/pom.xml"
  mvn --batch-mode --quiet --no-transfer-progress --file "$HOME_DIR/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$LIBRARIES" >"$HOME_DIR/install.log" 2>&1 ||
    { tail -5 "$HOME_DIR/install.log" >&2; fail "mvn failed; its output is $HOME_DIR/install.log."; }
  touch "$LIBRARIES/.complete"
}

# Without log4j-slf4j-impl, which the broker does not depend on, it logs nothing.
artifacts() {
  cat <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>nearfeed</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_$KAFKA_SCALA</artifactId><version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>$LOG4J_VERSION</version>
    </dependency>
  </dependencies>
</project>
XML
}

configuration() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER_PORT
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$CONTROLLER_PORT
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$DATA
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

logging() {
  cat <<PROPERTIES
appender.console.type=Console
appender.console.name=Console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=Console
logger.start.name=kafka.server.KafkaRaftServer
logger.start.level=INFO
PROPERTIES
}

launch() {
  configuration >"$HOME_DIR/server.properties"
  logging >"$HOME_DIR/log4j2.properties"
  [ -e "$DATA/meta.properties" ] || java -cp "$LIBRARIES/*" "$LOGGING" kafka.tools.StorageTool format \
    --cluster-id AAAAAAAAAAAAAAAAAAAAAA --config "$HOME_DIR/server.properties" >>"$LOG_FILE" 2>&1
  nohup java -Xms128m -Xmx512m -XX:+UseSerialGC -Djava.awt.headless=true "$LOGGING" -cp "$LIBRARIES/*" \
    kafka.Kafka "$HOME_DIR/server.properties" >>"$LOG_FILE" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
}

ready() { grep -q 'Kafka Server started' "$LOG_FILE"; }

dispatch "$@"
