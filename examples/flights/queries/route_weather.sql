SELECT
    flights.origin,
    flights.dest,
    airports.name AS destination,
    count(*) AS flights,
    avg(flights.dep_delay) AS mean_delay,
    avg(weather.wind_speed) AS mean_wind,
    avg(CASE WHEN weather.precip > 0 THEN 1.0 ELSE 0.0 END) AS rainy_share
FROM flights
JOIN weather ON weather.origin = flights.origin AND weather.time_hour = flights.time_hour
LEFT JOIN airports ON airports.faa = flights.dest
GROUP BY flights.origin, flights.dest, airports.name
ORDER BY flights.origin, flights.dest
